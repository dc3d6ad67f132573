local editor = require('editor')

local TARGET = editor.target('one')

test('attaches to vmtest.toml', function()
  local dir = editor.project({ ['vmtest.toml'] = TARGET })
  editor.start({ args = { dir .. '/vmtest.toml' } }):attached()
end)

test('does not attach to any other TOML file', function()
  local dir =
    editor.project({ ['vmtest.toml'] = TARGET, ['Cargo.toml'] = '[package]\n', ['not-vmtest.toml'] = '' })
  local vim_ = editor.start()
  for _, name in ipairs({ 'Cargo.toml', 'not-vmtest.toml' }) do
    vim_:command('edit ' .. dir .. '/' .. name)
    equal(vim_:lua('return vim.bo.filetype'), 'toml')
  end
  -- What attaches does so in order: when this one has, the others would have.
  vim_:open(dir .. '/vmtest.toml')
  equal(vim_:lua("return vim.tbl_count(vim.lsp.get_clients({ name = 'vmtest' })[1].attached_buffers)"), 1)
end)

test('a project has one server, however often its file is opened', function()
  local vim_, dir = editor.open({ ['vmtest.toml'] = TARGET })
  vim_:command('edit')
  vim_:command('split | enew')
  vim_:open(dir .. '/vmtest.toml')
  equal(vim_:lua("return #vim.lsp.get_clients({ name = 'vmtest' })"), 1)
end)

test('two projects have a server each', function()
  local vim_ = editor.open({ ['vmtest.toml'] = TARGET })
  vim_:open(editor.project({ ['vmtest.toml'] = TARGET }) .. '/vmtest.toml')
  equal(vim_:lua("return #vim.lsp.get_clients({ name = 'vmtest' })"), 2)
end)

-- E1
test('a missing server is said clearly and once', function()
  local dir = editor.project({ ['a/vmtest.toml'] = TARGET, ['b/vmtest.toml'] = TARGET })
  local vim_ = editor.start()
  vim_:lua("vim.g.vmtest = { cmd = '/nowhere/vmtest' }")
  vim_:hear()
  vim_:command('edit ' .. dir .. '/a/vmtest.toml')
  vim_:command('edit ' .. dir .. '/b/vmtest.toml')
  local said = vim_:told()
  equal(#said, 1)
  contains(said[1], '`/nowhere/vmtest`, which cannot be run')
end)

test('the server is found on PATH', function()
  local dir = editor.project({ ['vmtest.toml'] = TARGET })
  local bin = editor.project({ ['.keep'] = '' })
  vim.uv.fs_symlink(vim.env.VMTEST_BIN, bin .. '/vmtest')
  local vim_ = editor.start({ env = { PATH = bin .. ':' .. vim.env.PATH } })
  vim_:lua('vim.g.vmtest = nil')
  vim_:open(dir .. '/vmtest.toml')
end)

test('the server hears at its start what `vim.g.vmtest` says', function()
  local dir = editor.project({
    ['vmtest.toml'] = TARGET,
    server = '#!/bin/sh\ntee "${0%/*}/heard" | "$VMTEST_BIN" "$@"\n',
  })
  vim.uv.fs_chmod(dir .. '/server', tonumber('755', 8))
  local vim_ = editor.start()
  vim_:lua('vim.g.vmtest = { cmd = ..., jobs = 3, warm_snapshots = true }', dir .. '/server')
  vim_:open(dir .. '/vmtest.toml')
  local heard = editor.read(dir .. '/heard')
  contains(heard, '"warmSnapshots":true')
  contains(heard, '"jobs":3')
end)

test('starting Neovim loads nothing but the command', function()
  local vim_ = editor.start()
  equal(vim_:lua("return vim.fn.exists(':Vmtest')"), 2)
  equal(
    vim_:lua([[
      return vim.tbl_filter(function(name)
        return name:find('^vmtest') and not vim.list_contains({ 'vmtest.client', 'vmtest.config', 'vmtest.lens' }, name)
      end, vim.tbl_keys(package.loaded))
    ]]),
    {}
  )
end)
