local editor = require('editor')

local TWO = editor.target('one') .. editor.target('another one')

local function open(text)
  return (editor.open({ ['vmtest.toml'] = text or TWO }, { trust = 'Trust' }))
end

local function completed(vim_, line)
  return vim_:lua("return vim.fn.getcompletion(..., 'cmdline')", line)
end

test('subcommands are completed', function()
  local vim_ = open()
  equal(completed(vim_, 'Vmtest s'), { 'shell', 'stop' })
  equal(completed(vim_, 'Vmtest run'), { 'run', 'run!' })
  equal(completed(vim_, 'Vmtest! run'), { 'run' })
  equal(completed(vim_, 'update | silent Vmt st'), { 'stop' })
end)

test('names of targets are completed, as an argument is written', function()
  local vim_ = open()
  equal(completed(vim_, 'Vmtest run '), { 'one', [[another\ one]] })
  equal(completed(vim_, [[Vmtest run another\ o]]), { [[another\ one]] })
  equal(completed(vim_, 'Vmtest stop one a'), { [[another\ one]] })
  equal(completed(vim_, 'Vmtest last '), {})
  -- No more than it takes.
  equal(completed(vim_, 'Vmtest shell one '), {})
  equal(completed(vim_, 'Vmtest! run '), {})
end)

test('interactive shells are completed for a shell only', function()
  local vim_ = open(TWO .. editor.target('sh', '-'))
  equal(completed(vim_, 'Vmtest shell '), { 'one', [[another\ one]], 'sh' })
  for _, word in ipairs({ 'run', 'stop', 'output' }) do
    equal(completed(vim_, ('Vmtest %s '):format(word)), { 'one', [[another\ one]] }, word)
  end
end)

test('an unknown subcommand is said, with those that there are', function()
  local vim_ = open()
  vim_:hear()
  vim_:command('Vmtest rum')
  equal(
    vim_:told(),
    { 'vmtest: there is no :Vmtest rum; there is check, last, output, run, shell, stop, trust' }
  )
end)

test('an unknown target is said by the server', function()
  local vim_ = open()
  vim_:hear()
  vim_:command('Vmtest run nobody')
  contains(vim_:told()[1], 'nobody')
end)

test('`:Vmtest check` puts the problems of the shown text into the quickfix list', function()
  local vim_ = open('[[target]]\nname = "one"\nimage_url = "https://example.org/x"\ncommand = "true"\n')
  vim_:type('Gotimeuot = "1s"<Esc>')
  vim_:wait('the text', "return vim.fn.getline('$') ~= '' and vim.fn.mode() == 'n'")
  vim_:command('Vmtest check')
  local items = vim_:wait(
    'the quickfix list',
    [[
    local list = vim.fn.getqflist({ items = 1, title = 1 })
    return list.title == 'vmtest check' and list.items
  ]]
  )
  equal(#items, 1)
  equal(items[1].lnum, 5)
  contains(items[1].text, 'timeuot')
end)

test('every <Plug> map does what its subcommand does', function()
  local vim_ = open()
  for name, does in pairs({
    run = 'run',
    ['run-all'] = 'run!',
    stop = 'stop',
    shell = 'shell',
    output = 'output',
    last = 'last',
    check = 'check',
  }) do
    local map = vim_:lua("return vim.fn.maparg(..., 'n')", ('<Plug>(vmtest-%s)'):format(name))
    equal(map, ('<Cmd>Vmtest %s<CR>'):format(does))
  end
  vim_:lua([[vim.keymap.set('n', '<F5>', '<Plug>(vmtest-run)')]])
  vim_:type('gg<F5>')
  equal(vim_:finished(1), { one = 'boot_failed' })
end)

test('`:checkhealth vmtest` tells about Neovim, the server, trust and the machine', function()
  local vim_ = open()
  vim_:command('checkhealth vmtest')
  local text = vim_:lua("return table.concat(vim.api.nvim_buf_get_lines(0, 0, -1, false), '\\n')")
  for _, part in ipairs({
    'Neovim',
    vim.env.VMTEST_BIN,
    'running for',
    'is not trusted',
    'QEMU',
    'vim.g.vmtest is fine',
  }) do
    contains(text, part)
  end
  equal(text:find('ERROR', 1, true), nil)
end)

test('`:checkhealth vmtest` says that the server is missing and that a setting is wrong', function()
  local vim_ = editor.start()
  vim_:lua("vim.g.vmtest = { cmd = '/nowhere/vmtest', codelenz = true, jobs = 'many' }")
  vim_:command('checkhealth vmtest')
  local text = vim_:lua("return table.concat(vim.api.nvim_buf_get_lines(0, 0, -1, false), '\\n')")
  contains(text, '/nowhere/vmtest')
  contains(text, 'no key `codelenz`')
  contains(text, 'vim.g.vmtest.jobs must be a number, not a string')
end)

test('the help has every subcommand, setting and map, and no dead link', function()
  local vim_ = editor.start()
  local doc = editor.project({ ['.keep'] = '' }) .. '/doc'
  vim.fn.mkdir(doc, 'p')
  vim.uv.fs_copyfile(vim.env.VMTEST_TOP .. '/editors/neovim/doc/vmtest.txt', doc .. '/vmtest.txt')
  vim_:command('helptags ' .. doc)
  local tags = editor.read(doc .. '/tags')
  for _, name in ipairs({ 'run', 'stop', 'shell', 'output', 'last', 'check', 'trust' }) do
    contains(tags, (':Vmtest-%s\t'):format(name))
  end
  for _, name in ipairs({
    'cmd',
    'jobs',
    'warm_snapshots',
    'codelens',
    'open_output',
    'output_height',
    'quickfix',
    'run_on_save',
  }) do
    contains(tags, ('vmtest-%s\t'):format(name))
  end
  vim_:lua('vim.opt.runtimepath:prepend(...)', vim.fs.dirname(doc))
  local text = editor.read(doc .. '/vmtest.txt')
  for link in text:gmatch('|([^|%s]+)|') do
    local ok = vim_:lua('return (pcall(vim.cmd.help, ...))', link)
    -- What only a newer Neovim has is not in the older one's help.
    local newer = link:find('^vim%.lsp%.config') or link:find('^vim%.pack') or link:find('^vim%.lsp%.enable')
    assert(ok or newer, 'dead link: ' .. link)
  end
end)
