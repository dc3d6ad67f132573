local editor = require('editor')

test('diagnostics of the server are shown at their place', function()
  local dir =
    editor.project({ ['vmtest.toml'] = '[[target]]\nname = "one"\nkernal = "x"\ncommand = "true"\n' })
  local vim_ = editor.start()
  vim_:open(dir .. '/vmtest.toml')
  local found = vim_:wait(
    'a diagnostic',
    [[
    for _, diagnostic in ipairs(vim.diagnostic.get(0)) do
      if diagnostic.lnum == 2 then return diagnostic end
    end
  ]]
  )
  contains(found.message, 'kernal')
  contains(found.message, 'kernel')
  equal(found.source, 'vmtest')
end)

test('diagnostics follow what is typed', function()
  local dir =
    editor.project({ ['vmtest.toml'] = '[[target]]\nname = "one"\nkernal = "x"\ncommand = "true"\n' })
  local vim_ = editor.start()
  vim_:open(dir .. '/vmtest.toml')
  vim_:wait('a diagnostic', 'return #vim.diagnostic.get(0) > 0')
  vim_:type('3Gccimage_url = "https://example.org/x"<Esc>')
  vim_:wait('the diagnostics to go', 'return #vim.diagnostic.get(0) == 0')
end)

test('keys are completed by omni completion', function()
  local dir = editor.project({ ['vmtest.toml'] = '[[target]]\nname = "one"\nkernel = "x"\ncomm\n' })
  local vim_ = editor.start()
  vim_:open(dir .. '/vmtest.toml')
  vim_:type('4GA<C-x><C-o>')
  vim_:wait(
    'the menu',
    "return vim.tbl_contains(vim.tbl_map(function(item) return item.abbr end, vim.fn.complete_info({'items'}).items), 'command')"
  )
  vim_:type('<Esc>')
end)

test('lenses are drawn over every target', function()
  local dir = editor.project({
    ['vmtest.toml'] = '# first\n[[target]]\nname = "one"\nkernel = "x"\ncommand = "true"\n\n'
      .. '[[target]]\nname = "two"\nkernel = "x"\ncommand = "true"\n',
  })
  local vim_ = editor.start()
  vim_:open(dir .. '/vmtest.toml')
  vim_:see('▶ Run all')
  vim_:see('Shell')
  local count = select(2, vim_:screen():gsub('▶ Run in VM', ''))
  equal(count, 2)
end)

test('lenses stay away when the user does not want them', function()
  local dir =
    editor.project({ ['vmtest.toml'] = '[[target]]\nname = "one"\nkernal = "x"\ncommand = "true"\n' })
  local vim_ = editor.start()
  vim_:lua('vim.g.vmtest = { cmd = vim.env.VMTEST_BIN, codelens = false }')
  vim_:open(dir .. '/vmtest.toml')
  vim_:wait('a diagnostic', 'return #vim.diagnostic.get(0) > 0')
  equal(vim_:screen():find('▶', 1, true), nil)
end)
