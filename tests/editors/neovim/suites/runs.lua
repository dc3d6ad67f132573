--- Runs that end before a machine is up: the real server, and no boot to wait for.

local editor = require('editor')

local BAD = editor.target('one') .. editor.target('another one')

local function open(text)
  return editor.open({ ['vmtest.toml'] = text or BAD, ['main.c'] = 'int main;\n' }, { trust = 'Trust' })
end

test('`:Vmtest run NAME` runs that target and no other', function()
  local vim_ = open()
  vim_:command([[Vmtest run another\ one]])
  equal(vim_:finished(1), { ['another one'] = 'boot_failed' })
end)

test('`:Vmtest run` runs the target under the cursor', function()
  local vim_ = open()
  vim_:type('7G')
  vim_:command('Vmtest run')
  equal(vim_:finished(1), { ['another one'] = 'boot_failed' })
end)

test('`:Vmtest run` asks which target where the cursor is in none', function()
  local vim_, dir = open()
  vim_:answer('vmtest.target', 'another')
  vim_:command('edit ' .. dir .. '/main.c')
  vim_:command('Vmtest run')
  equal(vim_:finished(1), { ['another one'] = 'boot_failed' })
end)

test('`:Vmtest! run` and `:Vmtest run!` run every target', function()
  local vim_ = open()
  vim_:command('Vmtest! run')
  equal(vim_:finished(1), { one = 'boot_failed', ['another one'] = 'boot_failed' })
  vim_:command('Vmtest run!')
  equal(vim_:finished(2), { one = 'boot_failed', ['another one'] = 'boot_failed' })
end)

test('an interactive shell is no part of a run, and refused with the way to it', function()
  local vim_ = open(editor.target('sh', '-') .. BAD)
  vim_:command('Vmtest! run')
  equal(vim_:finished(1), { one = 'boot_failed', ['another one'] = 'boot_failed' })
  vim_:hear()
  vim_:type('gg')
  vim_:command('Vmtest run')
  contains(vim_:told()[1], 'is an interactive shell')
  -- What was refused is not repeated.
  vim_:command('Vmtest last')
  equal(vim_:finished(2), { one = 'boot_failed', ['another one'] = 'boot_failed' })
end)

test('`:Vmtest last` repeats the last run from anywhere', function()
  local vim_, dir = open()
  vim_:command('Vmtest run one')
  equal(vim_:finished(1), { one = 'boot_failed' })
  vim_:command('edit ' .. dir .. '/main.c')
  vim_:command('Vmtest last')
  equal(vim_:finished(2), { one = 'boot_failed' })
end)

test('`:Vmtest last` finds its target where it is now', function()
  local vim_ = open()
  vim_:type('7G')
  vim_:command('Vmtest run')
  equal(vim_:finished(1), { ['another one'] = 'boot_failed' })
  vim_:command('1,4delete')
  vim_:command('Vmtest last')
  equal(vim_:finished(2), { ['another one'] = 'boot_failed' })
end)

test('saving repeats the last run of the project, once for files that are saved together', function()
  local vim_, dir = open()
  local elsewhere = editor.project({ ['main.c'] = '' })
  vim_:lua('vim.g.vmtest = { cmd = vim.env.VMTEST_BIN, run_on_save = true }')
  for _, file in ipairs({ dir .. '/main.c', dir .. '/.git/COMMIT_EDITMSG', elsewhere .. '/main.c' }) do
    vim_:command('edit ' .. file)
  end
  -- Nothing has run yet, so there is nothing to repeat.
  vim_:command(('buffer %s/main.c | write'):format(dir))
  vim_:command('Vmtest run one')
  vim_:finished(1)
  vim_:command('silent bufdo call append(0, "# more") | silent write ++p')
  equal(vim_:finished(2), { one = 'boot_failed' })
  vim_:command(('silent buffer %s/main.c | silent write'):format(elsewhere))
  vim_:command(('silent buffer %s/.git/COMMIT_EDITMSG | silent write'):format(dir))
  vim_:lua('vim.g.vmtest = { cmd = vim.env.VMTEST_BIN }')
  vim_:command(('silent buffer %s/main.c | silent write'):format(dir))
  -- What a save had begun would have begun before this.
  vim_:command([[Vmtest run another\ one]])
  equal(vim_:finished(3), { ['another one'] = 'boot_failed' })
end)

test('two projects run side by side, each with an output of its own', function()
  local vim_, first = open(editor.target('first'))
  local second = editor.project({ ['vmtest.toml'] = editor.target('second') })
  vim_:command('Vmtest run first')
  vim_:command(('edit %s/vmtest.toml'):format(second))
  vim_:command('Vmtest run second')
  vim_:wait('both runs to end', 'return #_G.finished == 2')
  local outputs = vim_:wait(
    'both outputs',
    [[
    local outputs = {}
    for _, buf in ipairs(vim.api.nvim_list_bufs()) do
      local text = table.concat(vim.api.nvim_buf_get_lines(buf, 0, -1, false), '\n')
      if vim.bo[buf].filetype == 'vmtest-output' and text:find('FAILED', 1, true) then
        outputs[vim.fs.basename(vim.api.nvim_buf_get_name(buf))] = text:match('=> (%w+)')
      end
    end
    return vim.tbl_count(outputs) == 2 and outputs
  ]]
  )
  equal(outputs[vim.fs.basename(second)], 'second')
  vim_:command('Vmtest last')
  equal(vim_:finished(3), { second = 'boot_failed' })
  -- Each has a last run of its own to repeat.
  vim_:lua('vim.g.vmtest = { cmd = vim.env.VMTEST_BIN, run_on_save = true }')
  vim_:command(('edit %s/main.c | silent write'):format(first))
  equal(vim_:finished(4), { first = 'boot_failed' })
end)

test('the last run is the one that was asked for last, whichever server answers first', function()
  local slow = editor.project({
    server = '#!/bin/sh\ntest "$*" = "lsp --help" || until test -e "${0%/*}/go"; do sleep 0.05; done; exec "$VMTEST_BIN" "$@"\n',
  })
  vim.uv.fs_chmod(slow .. '/server', tonumber('755', 8))
  local first = editor.project({ ['vmtest.toml'] = editor.target('first') })
  local second = editor.project({ ['vmtest.toml'] = editor.target('second') })
  local vim_ = editor.start()
  vim_:answer('vmtest.trust', 'Trust')
  vim_:listen()
  vim_:lua('vim.g.vmtest = { cmd = ... }', slow .. '/server')
  vim_:command(('edit %s/vmtest.toml'):format(first))
  vim_:command('Vmtest run first')
  vim_:lua('vim.g.vmtest = { cmd = vim.env.VMTEST_BIN }')
  vim_:command(('edit %s/vmtest.toml'):format(second))
  vim_:command('Vmtest run second')
  equal(vim_:finished(1), { second = 'boot_failed' })
  editor.write(slow .. '/go', '')
  equal(vim_:finished(2), { first = 'boot_failed' })
  vim_:command('Vmtest last')
  equal(vim_:finished(3), { second = 'boot_failed' })
end)

test('a run from a source file needs no open vmtest.toml', function()
  local dir = editor.project({ ['vmtest.toml'] = BAD, ['src/main.c'] = 'int main;\n' })
  local vim_ = editor.start()
  vim_:answer('vmtest.trust', 'Trust')
  vim_:listen()
  vim_:command('edit ' .. dir .. '/src/main.c')
  vim_:command('Vmtest run one')
  equal(vim_:finished(1), { one = 'boot_failed' })
  contains(vim_:lua('return vim.api.nvim_buf_get_name(0)'), 'main.c')
end)

test('the output shows every target of a run with its verdict', function()
  local vim_ = open()
  vim_:command('Vmtest! run')
  vim_:finished(1)
  vim_:see('FAILED')
  vim_:reads('=> one')
  vim_:reads('=> another one')
  vim_:reads('Boot failed: cannot use')
  vim_:reads('FAILED', { times = 2 })
end)

test('a run never takes the focus, and leaves the mode alone', function()
  local vim_ = open()
  local before = vim_:lua('return { vim.api.nvim_get_current_win(), vim.api.nvim_win_get_cursor(0) }')
  vim_:type('i')
  vim_:wait('insert mode', "return vim.fn.mode() == 'i'")
  vim_:lua("require('vmtest').run()")
  vim_:finished(1)
  vim_:see('FAILED')
  equal(vim_:lua('return { vim.api.nvim_get_current_win(), vim.api.nvim_win_get_cursor(0) }'), before)
  equal(vim_:lua('return vim.fn.mode()'), 'i')
  equal(vim_:lua('return #vim.api.nvim_tabpage_list_wins(0)'), 2)
end)

test('a second run takes the same window and an empty buffer', function()
  local vim_ = open()
  vim_:command('Vmtest run one')
  vim_:finished(1)
  vim_:command([[Vmtest run another\ one]])
  vim_:finished(2)
  vim_:reads('=> another one')
  equal(vim_:output():find('=> one', 1, true), nil)
  equal(vim_:lua('return #vim.api.nvim_tabpage_list_wins(0)'), 2)
end)

test('`:Vmtest output` brings the output back after its window was closed', function()
  local vim_ = open()
  vim_:command('Vmtest run one')
  vim_:finished(1)
  vim_:command('Vmtest! output')
  equal(vim_:lua('return #vim.api.nvim_tabpage_list_wins(0)'), 1)
  vim_:command('Vmtest output')
  vim_:see('=> one')
  equal(vim_:lua('return vim.bo.filetype'), 'toml')
end)

test('`open_output = false` leaves the windows alone', function()
  local vim_ = open()
  vim_:lua('vim.g.vmtest = { cmd = vim.env.VMTEST_BIN, open_output = false }')
  vim_:command('Vmtest run one')
  vim_:finished(1)
  equal(vim_:lua('return #vim.api.nvim_tabpage_list_wins(0)'), 1)
  vim_:reads('=> one')
end)

test('a failure is a diagnostic on its target and an entry of the quickfix list', function()
  local vim_ = open()
  vim_:command([[Vmtest run another\ one]])
  vim_:finished(1)
  local list = vim_:lua('return vim.fn.getqflist({ items = 1, title = 1 })')
  equal(list.title, 'vmtest')
  equal(#list.items, 1)
  equal(list.items[1].lnum, 5)
  contains(list.items[1].text, 'Boot failed')
  vim_:command('silent cfirst')
  contains(vim_:lua('return vim.api.nvim_buf_get_name(0)'), 'vmtest.toml')
end)

test('the quickfix list of a run takes the place of that of the run before, and of no other list', function()
  local vim_ = open()
  local function titles()
    return vim_:lua([[
      local titles = {}
      for number = 1, vim.fn.getqflist({ nr = '$' }).nr do
        titles[number] = vim.fn.getqflist({ nr = number, title = 1 }).title
      end
      return titles
    ]])
  end
  vim_:lua("vim.fn.setqflist({}, ' ', { title = 'a search', items = { { text = 'found' } } })")
  vim_:command('Vmtest! run')
  vim_:finished(1)
  equal(vim_:lua('return #vim.fn.getqflist()'), 2)
  vim_:command('Vmtest run one')
  vim_:finished(2)
  equal(titles(), { 'a search', 'vmtest' })
end)

test('a lens is run by Neovim', function()
  local vim_ = open()
  vim_:answer('codelens', 'Run in VM')
  vim_:see('▶ Run in VM')
  vim_:type('5G')
  vim_:lua('vim.lsp.codelens.run()')
  equal(vim_:finished(1), { ['another one'] = 'boot_failed' })
end)

test('after a run the lens tells how it went', function()
  local vim_ = open()
  vim_:command('Vmtest run one')
  vim_:finished(1)
  vim_:see('✗')
end)

test('no diagnostic hides a lens, however long it is', function()
  local vim_ = open()
  vim_:command('Vmtest! run')
  vim_:finished(1)
  equal(vim_:lua('return #vim.diagnostic.get(0, { lnum = 0 })'), 1)
  vim_:see('✗ boot failed')
  vim_:see('▶ Run all')
end)

test('the lens of the log opens it', function()
  local vim_ = open()
  vim_:answer('codelens', '✗')
  vim_:command('Vmtest run one')
  vim_:finished(1)
  vim_:see('✗')
  vim_:type('gg')
  vim_:wait(
    'the log',
    [[
    if not _G.tried then
      _G.tried = true
      vim.lsp.codelens.run()
    end
    for _, win in ipairs(vim.api.nvim_list_wins()) do
      if vim.api.nvim_buf_get_name(vim.api.nvim_win_get_buf(win)):find('%.log$') then return true end
    end
  ]]
  )
end)

test('the statusline says what runs, and nothing when nothing does', function()
  local vim_ = open()
  vim_:lua([[
    _G.statuses = {}
    local event = require('vmtest.runs').event
    require('vmtest.runs').event = function(...)
      event(...)
      table.insert(_G.statuses, require('vmtest').status())
    end
  ]])
  equal(vim_:lua("return require('vmtest').status()"), '')
  vim_:command('Vmtest run one')
  vim_:finished(1)
  contains(table.concat(vim_:lua('return _G.statuses'), '\n'), 'vmtest: one preparing, 0 s')
  equal(vim_:lua("return require('vmtest').status()"), '')
end)

-- E1
test('a server that dies ends its runs for the user too, and the next run starts another', function()
  local vim_ = open()
  vim_:lua([[
    vim.o.cmdheight = 8 -- Neovim itself has a lot to say then.
    -- The end of the run is kept from the client until the server is gone.
    local events = require('vmtest.runs')
    local event = events.event
    events.event = function(data, id)
      if data.event ~= 'finished' or data.reason == 'the language server has ended' then
        return event(data, id)
      end
      events.event = event
      local client = vim.lsp.get_client_by_id(id)
      client.stop(vim.fn.has('nvim-0.11') == 1 and client or true, true)
    end
    local left = events.server_left
    events.server_left = function(id)
      events.event = event
      left(id)
    end
  ]])
  vim_:command('Vmtest run one')
  equal(vim_:finished(1), { one = 'lost' })
  vim_:reads('the language server has ended')
  equal(vim_:lua("return require('vmtest').status()"), '')
  vim_:wait('the server to be gone', "return #vim.lsp.get_clients({ name = 'vmtest' }) == 0")
  vim_:command('Vmtest run one')
  equal(vim_:finished(2), { one = 'boot_failed' })
end)
