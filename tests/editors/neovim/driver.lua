--- Runs the tests in one Neovim after the other, each with a folder and editors of its own. Nothing may be left of a test:
--- no process, no file.

local here = assert(vim.uv.fs_realpath(vim.fs.dirname(debug.getinfo(1, 'S').source:sub(2))))
package.path = here .. '/?.lua;' .. package.path

local editor = require('editor')
local name, filter = arg[1], arg[2] or ''

editor.here = here
editor.mark = ('%s-%d'):format(name, vim.uv.os_getpid())
-- Short: the paths of sockets may not be long.
editor.temporary = assert(vim.uv.fs_mkdtemp((vim.env.TMPDIR or '/tmp') .. '/vmtest-nvim-XXXXXX'))
editor.running = {}

local tests = {}

--- Declares a test: its name says what is promised.
function _G.test(promise, body)
  tests[#tests + 1] = { promise = promise, body = body }
end

--- Fails unless two values are the same.
function _G.equal(found, expected, what)
  if not vim.deep_equal(found, expected) then
    error(
      ('%sexpected %s, found %s'):format(
        what and what .. ': ' or '',
        vim.inspect(expected),
        vim.inspect(found)
      ),
      2
    )
  end
end

--- Fails unless a text contains another.
function _G.contains(text, part)
  if not text:find(part, 1, true) then
    error(('`%s` is not in:\n%s'):format(part, text), 2)
  end
end

for _, suite in ipairs({
  'session',
  'attach',
  'language',
  'runs',
  'trust',
  'commands',
  'install',
  'faults',
  'machine',
}) do
  dofile(('%s/suites/%s.lua'):format(here, suite))
end

--- What the editors show, for who reads why a test failed.
local function screens()
  local shown = {}
  for _, one in ipairs(editor.running) do
    shown[#shown + 1] = one.session.exited and 'an editor that has ended' or one.session:screen()
  end
  return table.concat(shown, '\n---\n')
end

local function clean()
  local problem
  for _, one in ipairs(editor.running) do
    local ok, message = pcall(one.quit, one)
    problem = problem or (not ok and message or nil)
  end
  editor.running = {}
  vim.wait(30000, function()
    return #editor.processes() == 0
  end, 20)
  local left = editor.processes()
  if #left > 0 then
    problem = problem or 'left behind: ' .. table.concat(left, '; ')
  end
  return problem
end

local passed, failed = 0, {}
for _, one in ipairs(tests) do
  if one.promise:find(filter, 1, true) then
    local began = vim.uv.hrtime()
    local ok, message = xpcall(one.body, debug.traceback)
    local shown = not ok and screens()
    local problem = clean()
    local took = (vim.uv.hrtime() - began) / 1e9
    if ok and not problem then
      passed = passed + 1
      io.stdout:write(('ok      %s (%.1f s)\n'):format(one.promise, took))
    else
      failed[#failed + 1] = one.promise
      io.stdout:write(('FAILED  %s (%.1f s)\n'):format(one.promise, took))
      io.stdout:write(ok and '' or ('%s\nthe screen:\n%s\n'):format(message, shown))
      io.stdout:write(problem and problem .. '\n' or '')
    end
    io.stdout:flush()
  end
end
vim.fn.delete(editor.temporary, 'rf')
print(
  ('test result: %s. %d passed; %d failed (%s)'):format(
    #failed == 0 and 'ok' or 'FAILED',
    passed,
    #failed,
    name
  )
)
io.stdout:write('\n')
if #failed > 0 or passed == 0 then
  vim.cmd('cquit 1')
end
