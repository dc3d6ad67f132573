--- The ways of installing that the README names, from a copy of the plugin.

local editor = require('editor')

local TARGET = '[[target]]\nname = "one"\nkernel = "text"\ncommand = "true"\n'
local PLUGIN = vim.env.VMTEST_TOP .. '/editors/neovim'

local function run(...)
  local result = vim.system({ ... }, { text = true }):wait()
  assert(result.code == 0, table.concat({ ... }, ' ') .. ': ' .. result.stderr)
end

local function works(vim_)
  local dir = editor.project({ ['vmtest.toml'] = TARGET })
  vim_:open(dir .. '/vmtest.toml')
  vim_:see('▶ Run in VM')
  vim_:command('help :Vmtest')
  contains(vim_:lua('return vim.api.nvim_buf_get_name(0)'), 'vmtest.txt')
end

test('works from the runtime path', function()
  local home = editor.project({
    ['init.lua'] = ('vim.opt.runtimepath:prepend(%q)\nvim.g.vmtest = { cmd = vim.env.VMTEST_BIN }\n'):format(
      PLUGIN
    ),
  })
  local vim_ = editor.start({ home = home, init = home .. '/init.lua' })
  local doc = editor.project({ ['.keep'] = '' })
  vim_:lua('vim.opt.runtimepath:append(...)', doc)
  run('cp', '-r', PLUGIN .. '/doc', doc .. '/doc')
  vim_:command('helptags ' .. doc .. '/doc')
  works(vim_)
end)

test('works as a package in the packpath', function()
  local home = editor.project({ ['config/nvim/init.lua'] = 'vim.g.vmtest = { cmd = vim.env.VMTEST_BIN }\n' })
  local pack = home .. '/data/nvim/site/pack/vmtest/start'
  vim.fn.mkdir(pack, 'p')
  run('cp', '-r', PLUGIN, pack .. '/vmtest')
  local vim_ = editor.start({ home = home, init = home .. '/config/nvim/init.lua' })
  vim_:command('helptags ALL')
  works(vim_)
end)

test('works when it is loaded after the file was opened', function()
  local home = editor.project({ ['init.lua'] = 'vim.g.vmtest = { cmd = vim.env.VMTEST_BIN }\n' })
  local pack = home .. '/data/nvim/site/pack/vmtest/opt'
  vim.fn.mkdir(pack, 'p')
  run('cp', '-r', PLUGIN, pack .. '/vmtest')
  local dir = editor.project({ ['vmtest.toml'] = TARGET })
  local vim_ = editor.start({ home = home, init = home .. '/init.lua', args = { dir .. '/vmtest.toml' } })
  vim_:command('packadd vmtest')
  vim_:wait('the server to attach', "return vim.lsp.get_clients({ name = 'vmtest', bufnr = 0 })[1] ~= nil")
end)

test("works with Neovim's own package manager, where there is one", function()
  local repository = editor.project({ ['.keep'] = '' })
  vim.fn.mkdir(repository .. '/editors', 'p')
  run('cp', '-r', PLUGIN, repository .. '/editors/neovim')
  for _, arguments in ipairs({
    { 'init', '--quiet', '--initial-branch=main' },
    { 'add', '.' },
    { '-c', 'user.name=t', '-c', 'user.email=t@example.org', 'commit', '--quiet', '--message=all' },
  }) do
    run('git', '-C', repository, unpack(arguments))
  end
  -- As in the README, with another address.
  local init = [[
    vim.g.vmtest = { cmd = vim.env.VMTEST_BIN }
    if vim.pack then
      vim.pack.add({ { src = vim.env.REPOSITORY, name = 'vmtest' } }, {
        confirm = false,
        load = function(plugin)
          vim.opt.runtimepath:prepend(plugin.path .. '/editors/neovim')
        end,
      })
    end
  ]]
  local home = editor.project({ ['config/nvim/init.lua'] = init })
  local vim_ = editor.start({
    home = home,
    init = home .. '/config/nvim/init.lua',
    env = { REPOSITORY = 'file://' .. repository },
  })
  if not vim_:lua('return vim.pack ~= nil') then
    return
  end
  vim_:command('helptags ALL')
  works(vim_)
end)
