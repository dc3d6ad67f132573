local editor = require('editor')

local TYPO = '[[target]]\nname = "one"\nkernal = "x"\ncommand = "true"\n'

test('diagnostics of the server are shown at their place', function()
  local vim_ = editor.open({ ['vmtest.toml'] = TYPO })
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
  local vim_ = editor.open({ ['vmtest.toml'] = TYPO })
  vim_:wait('a diagnostic', 'return #vim.diagnostic.get(0) > 0')
  vim_:type('3Gccimage_url = "https://example.org/x"<Esc>')
  vim_:wait('the diagnostics to go', 'return #vim.diagnostic.get(0) == 0')
end)

test('keys are completed by omni completion', function()
  local vim_ = editor.open({ ['vmtest.toml'] = '[[target]]\nname = "one"\nkernel = "x"\ncomm\n' })
  vim_:type('4GA<C-x><C-o>')
  vim_:wait(
    'the menu',
    "return vim.tbl_contains(vim.tbl_map(function(item) return item.abbr end, vim.fn.complete_info({'items'}).items), 'command')"
  )
  vim_:type('<Esc>')
end)

test('lenses are drawn over every target', function()
  local vim_ = editor.open({ ['vmtest.toml'] = '# first\n' .. editor.target('one') .. editor.target('two') })
  vim_:see('▶ Run all')
  vim_:see('Shell')
  local count = select(2, vim_:screen():gsub('▶ Run in VM', ''))
  equal(count, 2)
end)

test('lenses stay away when the user does not want them', function()
  local dir = editor.project({ ['vmtest.toml'] = TYPO })
  local vim_ = editor.start()
  vim_:lua('vim.g.vmtest = { cmd = vim.env.VMTEST_BIN, codelens = false }')
  vim_:open(dir .. '/vmtest.toml')
  vim_:wait('a diagnostic', 'return #vim.diagnostic.get(0) > 0')
  equal(vim_:screen():find('▶', 1, true), nil)
end)
