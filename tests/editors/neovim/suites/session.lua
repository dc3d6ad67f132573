--- What the other tests stand on.

local editor = require('editor')

test('an editor that waits for a key fails its test, and its screen can still be read', function()
  local vim_ = editor.start()
  vim_.session.patience = 300
  local ok, problem = pcall(vim_.command, vim_, [[echo "one\ntwo\nthree"]])
  equal(ok, false)
  contains(problem, 'the editor waits for a key')
  contains(vim_.session:screen(), 'two\nthree\nPress ENTER')
  vim_:type('<CR>')
end)

test('the screen is what a user sees', function()
  local vim_ = editor.start()
  vim_:command('set nowrap | put =range(1, 99) | 1')
  -- Scrolled both ways, which a terminal is told without the lines.
  vim_:see('37\n[No Name]')
  vim_:type('5<C-e>')
  vim_:see('42\n[No Name]')
  vim_:type('3<C-y>')
  vim_:see('39\n[No Name]')
  local ours = vim_:screen()
  equal(
    vim_:lua([[
    local lines = {}
    for row = 1, vim.o.lines do
      local cells = {}
      for column = 1, vim.o.columns do
        cells[column] = vim.fn.screenstring(row, column)
      end
      lines[row] = (table.concat(cells):gsub('%s+$', ''))
    end
    return table.concat(lines, '\n')
  ]]),
    ours
  )
end)
