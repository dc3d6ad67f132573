--- The ways of installing, as the README and other managers of plugins do it, from a copy of the plugin.

local editor = require('editor')

local PLUGIN = vim.env.VMTEST_TOP .. '/editors/neovim'
local README = editor.read(PLUGIN .. '/README.md')

local function run(...)
  local result = vim.system({ ... }, { text = true }):wait()
  assert(result.code == 0, table.concat({ ... }, ' ') .. ': ' .. result.stderr)
end

--- The block of the README that contains a text, to be done as it is written there.
local function block(text)
  for code in README:gmatch('```%w+\n(.-)```') do
    if code:find(text, 1, true) then
      return code
    end
  end
  error(('no block of the README has `%s`'):format(text))
end

--- The home of somebody who has a checkout at ~/src/vmtest.
local function home(init)
  local dir = editor.project({
    ['init.lua'] = 'vim.g.vmtest = { cmd = vim.env.VMTEST_BIN }\n' .. (init or ''),
    ['src/vmtest/README.md'] = '',
  })
  vim.fn.mkdir(dir .. '/src/vmtest/editors')
  run('cp', '-r', PLUGIN, dir .. '/src/vmtest/editors/neovim')
  return dir
end

local function start(dir, options)
  return editor.start(vim.tbl_extend('force', { home = dir, init = dir .. '/init.lua' }, options or {}))
end

local function project()
  return editor.project({ ['vmtest.toml'] = editor.target('one') }) .. '/vmtest.toml'
end

--- It attaches, once, and the command is there.
local function works(vim_)
  vim_:attached()
  vim_:see('▶ Run in VM')
  equal(vim_:lua("return #vim.lsp.get_clients({ name = 'vmtest' })"), 1)
  contains(vim_:lua("return vim.fn.getcompletion('Vmtest r', 'cmdline')[1]"), 'run')
end

local function has_help(vim_)
  vim_:command('helptags ALL')
  vim_:command('help :Vmtest')
  contains(vim_:lua('return vim.api.nvim_buf_get_name(0)'), 'doc/vmtest.txt')
end

test('works from the runtime path, as the README says', function()
  local vim_ = start(home(block('runtimepath:prepend')), { args = { project() } })
  works(vim_)
  has_help(vim_)
end)

test('works as a package of packpath, as the README says', function()
  local dir = home()
  run('env', 'HOME=' .. dir, 'sh', '-ec', block('/pack/vmtest/start'))
  local vim_ = start(dir, { args = { project() }, env = { XDG_DATA_HOME = dir .. '/.local/share' } })
  works(vim_)
  has_help(vim_)
end)

test('`:packadd` of an optional package attaches to a file that is open already', function()
  local dir = home()
  local optional = dir .. '/data/nvim/site/pack/vmtest/opt'
  vim.fn.mkdir(optional, 'p')
  run('cp', '-r', PLUGIN, optional .. '/vmtest')
  local vim_ = start(dir, { args = { project() } })
  vim_:command('packadd vmtest')
  works(vim_)
end)

-- What lazy.nvim does with a plugin: its folder is put on the runtime path, and the files below plugin/ are sourced.
local LOAD = [[
  local dir = vim.env.HOME .. '/src/vmtest/editors/neovim'
  vim.opt.runtimepath:append(dir)
  vim.cmd.source(dir .. '/plugin/vmtest.lua')
]]

test('loaded late, it still attaches to a file that is already open', function()
  local vim_ = start(home(), { args = { project() } })
  vim_:lua(LOAD)
  works(vim_)
end)

test('loaded by the file type, it attaches to the file that had it loaded', function()
  local init = ([[
    vim.api.nvim_create_autocmd('FileType', { pattern = 'toml', once = true, callback = function() %s end })
  ]]):format(LOAD)
  works(start(home(init), { args = { project() } }))
end)

test('loaded by its command, it runs what the command says', function()
  local init = ([[
    vim.api.nvim_create_user_command('Vmtest', function(command)
      vim.api.nvim_del_user_command('Vmtest')
      %s
      vim.cmd.Vmtest({ args = command.fargs, bang = command.bang })
    end, { nargs = '*', bang = true })
  ]]):format(LOAD)
  local vim_ = start(home(init), { args = { project() } })
  vim_:answer('vmtest.trust', 'Trust')
  vim_:listen()
  vim_:command('Vmtest run one')
  equal(vim_:finished(1), { one = 'boot_failed' })
end)

if vim.pack then
  test("works with Neovim's own package manager, as the README says", function()
    -- It asks before it installs.
    local dir = home('vim.fn.confirm = function() return 1 end\n' .. block('vim.pack.add'))
    local repository = dir .. '/src/vmtest'
    for _, arguments in ipairs({
      { 'init', '--quiet', '--initial-branch=main' },
      { 'add', '.' },
      { '-c', 'user.name=t', '-c', 'user.email=t@example.org', 'commit', '--quiet', '--message=all' },
    }) do
      run('git', '-C', repository, unpack(arguments))
    end
    local init = editor.read(dir .. '/init.lua'):gsub('<this repository>', 'file://' .. repository)
    editor.write(dir .. '/init.lua', init)
    local vim_ = start(dir, { args = { project() } })
    works(vim_)
    has_help(vim_)
    local from = vim_:lua("return vim.api.nvim_get_runtime_file('lua/vmtest/init.lua', true)")
    equal(#from, 1)
    contains(from[1], '/site/pack/core/opt/vmtest/editors/neovim/')
  end)
end
