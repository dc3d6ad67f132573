--- Servers that are none, files that go away during a run, and files of strangers.

local editor = require('editor')

local TARGET = editor.target('one')

--- A program that counts how often it was started as a server.
---@param script string what it does then
---@return string program
---@return string dir
local function program(script)
  local dir = editor.project({
    server = ([=[#!/bin/sh
cd "${0%%/*}"
echo "$*" >>called
case "$*" in
"lsp --help") %s ;;
*) echo "$PWD $*" >>served; touch mark; exec %s ;;
esac
]=]):format(
      script == 'old' and 'echo unknown >&2; exit 2' or 'echo "Usage: vmtest lsp"',
      script == 'old' and 'true' or script
    ),
  })
  vim.uv.fs_chmod(dir .. '/server', tonumber('755', 8))
  return dir .. '/server', dir
end

local function exists(path)
  return vim.uv.fs_stat(path) ~= nil
end

--- Opens two projects with a program for a server, and returns what the user was told until both were looked at.
local function told_with(script)
  local server, dir = program(script)
  local first, second =
    editor.project({ ['vmtest.toml'] = TARGET }), editor.project({ ['vmtest.toml'] = TARGET })
  local vim_ = editor.start()
  vim_:lua('vim.g.vmtest = { cmd = ... }', server)
  vim_:lua([[
    _G.told = {}
    local notify = vim.notify
    vim.notify = function(message, level)
      table.insert(_G.told, message)
    end
  ]])
  vim_:command('edit ' .. first .. '/vmtest.toml')
  vim_:command('edit ' .. second .. '/vmtest.toml')
  return vim_, dir
end

-- E1
test('a server that is too old is said once, and never started', function()
  local vim_, dir = told_with('old')
  local said = vim_:told()
  equal(#said, 1)
  contains(said[1], 'has no language server: it is too old')
  vim_:command('Vmtest! run')
  vim_:wait('the refusal', 'return #_G.told == 2')
  equal(editor.read(dir .. '/called'), 'lsp --help\n')
  equal(exists(dir .. '/mark'), false)
end)

-- E1
test(
  'a server that crashes at its start is said once for each project, and not started again by itself',
  function()
    local vim_, dir = told_with('false')
    vim_:wait('two ends', 'return #_G.told >= 2')
    -- What would start one of them again would do so before the end of the third.
    vim_:command('edit ' .. editor.project({ ['vmtest.toml'] = TARGET }) .. '/vmtest.toml')
    vim_:wait('the third end', 'return #_G.told >= 3')
    equal(vim_:lua('return #_G.told'), 3, vim.inspect(vim_:lua('return _G.told')))
    local _, starts = editor.read(dir .. '/served'):gsub('\n', '')
    equal(starts, 3)
    equal(vim_:lua("return #vim.lsp.get_clients({ name = 'vmtest' })"), 0)
  end
)

--- A target whose name is all that a name should not be, and that leaves a mark when anything of it is executed.
local EVIL = [=[
[[target]]
name = "$(touch mark) `touch mark` %%{touch} [link](command:evil) | !touch mark\n*two* \u001b[2J"
kernel = "vmtest.toml"
qemu_command = "./evil"
command = "touch mark"
]=]

local function evil(choice)
  local dir = editor.project({
    ['vmtest.toml'] = EVIL,
    evil = '#!/bin/sh\ntouch "${0%/*}/mark"\n',
  })
  vim.uv.fs_chmod(dir .. '/evil', tonumber('755', 8))
  local vim_ = editor.start({ cwd = dir })
  vim_:answer('vmtest.trust', choice)
  vim_:listen()
  vim_:open(dir .. '/vmtest.toml')
  return vim_, dir
end

--- Asks the server, as Neovim's own functions do.
local function ask(vim_, method, line, character)
  return vim_:lua(
    [[
    local method, line, character = ...
    local params = {
      textDocument = vim.lsp.util.make_text_document_params(0),
      position = { line = line, character = character },
      range = { start = { line = 0, character = 0 }, ['end'] = { line = 5, character = 0 } },
      context = { diagnostics = {} },
    }
    local answers = vim.lsp.buf_request_sync(0, method, params, 10000)
    local _, answer = next(answers or {})
    return answer and vim.inspect(answer.result) or ''
  ]],
    method,
    line,
    character
  )
end

-- E2
test('nothing of a strangers file runs by being looked at, and a run asks first', function()
  local vim_, dir = evil('Cancel')
  vim_:see('▶ Run in VM')
  for line = 0, 4 do
    for _, method in ipairs({ 'textDocument/hover', 'textDocument/completion', 'textDocument/codeAction' }) do
      ask(vim_, method, line, 9)
    end
  end
  vim_:lua("vim.fn.getcompletion('Vmtest run ', 'cmdline')")
  vim_:type('gg')
  vim_:command('Vmtest run')
  vim_:wait('the question', 'return #_G.asked == 1')
  vim_:command('Vmtest shell')
  vim_:wait('the question', 'return #_G.asked == 2')
  equal(vim_:lua('return #_G.finished'), 0)
  equal(vim_:lua('return vim.bo.buftype'), '')
  equal(exists(dir .. '/mark'), false)
end)

-- E2
test('a name is text in the output, the quickfix list, a message, the statusline and a lens', function()
  local vim_, dir = evil('Trust')
  vim_:lua([[
    vim.o.statusline = "%{v:lua.require'vmtest'.status()}"
    vim.o.laststatus = 2
    _G.told = {}
    vim.notify = function(message)
      table.insert(_G.told, message)
    end
    _G.statuses = {}
    local event = require('vmtest.runs').event
    require('vmtest.runs').event = function(...)
      event(...)
      table.insert(_G.statuses, vim.api.nvim_eval_statusline(vim.o.statusline, {}).str)
    end
  ]])
  vim_:command('Vmtest! run')
  vim_:wait('the run to end', 'return #_G.finished == 1')
  local name = '$(touch mark) `touch mark` %%{touch} [link](command:evil) | !touch mark'
  contains(vim_:lua('return _G.finished[1].targets[1].target'), name .. '\n*two* \27[2J')
  vim_:reads('=> ' .. name)
  equal(vim_:output():find('\27', 1, true), nil)
  contains(table.concat(vim_:lua('return _G.statuses'), '\n'), 'vmtest: ' .. name)
  local said = vim_:told()
  contains(said[#said], name:sub(1, 40))
  equal(said[#said]:find('%c'), nil)
  -- Its completion is one word for the command line, and means the target again.
  local word = vim_:lua("return vim.fn.getcompletion('Vmtest run ', 'cmdline')[1]")
  contains(word, [[$(touch\ mark)]])
  equal(exists(dir .. '/mark'), false)
end)

-- E1
for what, away in pairs({
  deleted = function(vim_, dir)
    vim_:lua('vim.uv.fs_unlink(...)', dir .. '/vmtest.toml')
    vim_:command('checktime')
  end,
  renamed = function(vim_, dir)
    vim_:lua('vim.uv.fs_rename(...)', dir .. '/vmtest.toml', dir .. '/other.toml')
    vim_:command('silent file ' .. dir .. '/other.toml')
  end,
  closed = function(vim_)
    vim_:command('enew')
    vim_:command('silent! bwipeout! #')
  end,
}) do
  test(('a file that is %s during a run leaves the run its end, and one message'):format(what), function()
    local vim_, project = editor.open({ ['vmtest.toml'] = TARGET }, { trust = 'Trust' })
    vim_:hear()
    -- Its events are held back until the file is gone.
    vim_:lua([[
      _G.held = {}
      local runs = require('vmtest.runs')
      _G.event = runs.event
      runs.event = function(...)
        table.insert(_G.held, { ... })
      end
    ]])
    vim_:command('Vmtest! run')
    vim_:wait('the run', 'return #_G.held > 0')
    away(vim_, project)
    vim_:lua([[
      require('vmtest.runs').event = _G.event
      for _, one in ipairs(_G.held) do
        _G.event(unpack(one))
      end
    ]])
    equal(vim_:finished(1), { one = 'boot_failed' })
    equal(#vim_:told(), 1)
    equal(vim_:lua("return require('vmtest').status()"), '')
  end)
end
