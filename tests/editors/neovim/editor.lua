--- A Neovim under test: a process of its own with a screen of its own, driven by keys and asked by its API.

local Session = require('session')

local M = {}

--- Long enough for a machine that is busy with other things; nothing waits longer than it must.
local LIMIT = 60 * 1000
M.VM_LIMIT = 240 * 1000

---@class Editor
local Editor = {}
Editor.__index = Editor

local count = 0

--- Makes a folder that is gone after the test.
---@param files table<string, string>
---@return string
function M.project(files)
  local dir = vim.fs.joinpath(M.temporary, 'p' .. count)
  count = count + 1
  for name, text in pairs(files) do
    M.write(vim.fs.joinpath(dir, name), text)
  end
  return dir
end

---@param path string
---@param text string
function M.write(path, text)
  vim.fn.mkdir(vim.fs.dirname(path), 'p')
  local file = assert(io.open(path, 'w'))
  file:write(text)
  file:close()
end

---@param path string
---@return string
function M.read(path)
  local file = assert(io.open(path, 'r'))
  local text = file:read('*a')
  file:close()
  return text
end

--- A target whose kernel is none, so that its run ends before there is a machine to wait for.
---@param name string
---@param command? string
---@return string
function M.target(name, command)
  local text = '[[target]]\nname = "%s"\nkernel = "vmtest.toml"\ncommand = "%s"\n'
  return text:format(name, command or 'true')
end

--- Starts an editor.
---@param options? {args?: string[], env?: table<string, string>, init?: string, cwd?: string, home?: string}
---@return Editor
function M.start(options)
  options = options or {}
  local home = options.home or M.project({ ['.keep'] = '' })
  local env = {
    HOME = home,
    XDG_CONFIG_HOME = home .. '/config',
    XDG_DATA_HOME = home .. '/data',
    XDG_STATE_HOME = home .. '/state',
    -- Its own: what a run leaves half-written there is found when all tests are over.
    XDG_CACHE_HOME = assert(vim.env.XDG_CACHE_HOME, 'start this by run.sh'),
    XDG_RUNTIME_DIR = home,
    TMPDIR = home,
    VMTEST_TEST_MARK = M.mark,
    TERM = 'xterm-256color',
  }
  local cmd =
    { vim.env.VMTEST_NVIM, '--embed', '-n', '-i', 'NONE', '-u', options.init or (M.here .. '/init.lua') }
  vim.list_extend(cmd, options.args or {})
  local self = setmetatable({ home = home }, Editor)
  self.session = Session.start(cmd, {
    cwd = options.cwd or home,
    env = vim.tbl_extend('force', env, options.env or {}),
  })
  M.running[#M.running + 1] = self
  self:api('nvim_ui_attach', 120, 40, { rgb = true, ext_linegrid = true })
  self:wait('the editor to be up', 'return vim.v.vim_did_enter == 1')
  return self
end

--- Calls the API.
function Editor:api(name, ...)
  return self.session:request(LIMIT, name, ...)
end

--- Runs Lua in the editor.
function Editor:lua(code, ...)
  return self:api('nvim_exec_lua', code, { ... })
end

--- Runs a command of the command line.
function Editor:command(line)
  self:api('nvim_command', line)
end

--- Types.
function Editor:type(keys)
  self.session:type(keys)
end

--- Waits until Lua in the editor returns something true, and returns that.
---@param what string for the message
---@param code string
function Editor:wait(what, code, ...)
  return self:wait_for(LIMIT, what, code, ...)
end

--- The same with a limit of its own.
function Editor:wait_for(limit, what, code, ...)
  local problem, value
  self.session:wait_asking(limit, what, { 'nvim_exec_lua', { code, { ... } } }, function(failure, result)
    problem, value = failure, result ~= vim.NIL and result
    return problem or value
  end)
  if problem then
    error(problem[2], 2)
  end
  return value
end

--- Waits until the screen shows a text.
function Editor:see(text, limit)
  -- Lenses of Neovim 0.12 are drawn by nothing less than this.
  local redraw = { 'nvim_command', { 'redraw!' } }
  self.session:wait_asking(limit or LIMIT, ('`%s` on the screen'):format(text), redraw, function()
    return self.session:screen():find(text, 1, true)
  end)
end

--- What the screen shows.
function Editor:screen()
  self:command('redraw!')
  return self.session:screen()
end

--- How most tests begin: an editor that shows the vmtest.toml of a project and keeps the end of each run.
---@param project string|table<string, string> a folder, or the files of a new one
---@param options? {trust?: string, home?: string, init?: string} what the question about trust is answered with
---@return Editor
---@return string dir
function M.open(project, options)
  options = options or {}
  local dir = type(project) == 'table' and M.project(project) or project --[[@as string]]
  local self = M.start({ home = options.home, init = options.init })
  if options.trust then
    self:answer('vmtest.trust', options.trust)
  end
  self:listen()
  self:open(dir .. '/vmtest.toml')
  return self, dir
end

--- Opens a file and waits until the server looks after it.
function Editor:open(path)
  self:command('edit ' .. path)
  self:attached()
end

--- Waits until the server looks after the current buffer.
function Editor:attached()
  self:wait(
    'the server to attach',
    [[
    local client = vim.lsp.get_clients({ name = 'vmtest', bufnr = 0 })[1]
    return client ~= nil and client.initialized == true
  ]]
  )
end

--- What the user answers to questions of one kind from now on, as a plugin for vim.ui.select would. Counts them.
function Editor:answer(kind, choice)
  self:lua(
    [[
    local kind, choice = ...
    _G.asked = _G.asked or {}
    _G.answers = _G.answers or {}
    _G.answers[kind] = choice
    vim.ui.select = function(items, opts, done)
      table.insert(_G.asked, opts.prompt)
      local wanted = _G.answers[opts.kind]
      for index, item in ipairs(items) do
        local text = opts.format_item and opts.format_item(item) or item
        if wanted and text:find(wanted, 1, true) then
          return done(item, index)
        end
      end
      done(nil, nil)
    end
  ]],
    kind,
    choice
  )
end

--- How often the user was asked.
function Editor:asked()
  return self:lua('return #(_G.asked or {})')
end

--- Keeps what the user is told, instead of showing it.
function Editor:hear()
  self:lua([[
    _G.told = {}
    vim.notify = function(message)
      table.insert(_G.told, message)
    end
  ]])
end

--- Waits until the user is told something, and returns all of it.
---@return string[]
function Editor:told()
  return self:wait('a message', 'return #_G.told > 0 and _G.told')
end

--- Keeps the end of each run.
function Editor:listen()
  self:lua([[
    _G.finished = {}
    vim.api.nvim_create_autocmd('User', {
      pattern = 'VmtestFinished',
      callback = function(args)
        table.insert(_G.finished, args.data)
      end,
    })
  ]])
end

--- Waits for the end of the nth run, and returns its verdicts by target.
function Editor:finished(nth, limit)
  local data = self:wait_for(limit or LIMIT, 'the run to end', 'return _G.finished[...]', nth)
  local verdicts = {}
  for _, target in ipairs(data.targets) do
    verdicts[target.target] = target.verdict
  end
  return verdicts
end

local OUTPUT = [[
  for _, buf in ipairs(vim.api.nvim_list_bufs()) do
    if vim.bo[buf].filetype == 'vmtest-output' then
      return table.concat(vim.api.nvim_buf_get_lines(buf, 0, -1, false), '\n')
    end
  end
  return ''
]]

--- The output, as it is now.
function Editor:output()
  return self:lua(OUTPUT)
end

--- Waits until the output has a text, so many times.
---@param text string
---@param options? {times?: integer, limit?: integer}
function Editor:reads(text, options)
  options = options or {}
  self:wait_for(
    options.limit or LIMIT,
    ('`%s` in the output'):format(text),
    ([[
    local text, times = ...
    local output = (function() %s end)()
    local at = 0
    for _ = 1, times do
      at = output:find(text, at + 1, true)
      if not at then
        return false
      end
    end
    return true
  ]]):format(OUTPUT),
    text,
    options.times or 1
  )
end

--- Ends the editor, as its user would.
function Editor:quit()
  self.session:send('nvim_command', { 'qall!' })
  local ok, problem = pcall(self.session.wait, self.session, LIMIT, 'the editor to end', function()
    return self.session.exited
  end)
  if not ok then
    self.session:kill()
    error(problem, 0)
  end
end

--- The processes that the tests have started and that are still there, by what they run.
---@return string[]
function M.processes()
  local found = {}
  for name in vim.fs.dir('/proc') do
    local function content(file)
      local handle = io.open(('/proc/%s/%s'):format(name, file), 'rb')
      local text = handle and handle:read('*a') or ''
      if handle then
        handle:close()
      end
      return text or ''
    end
    if name:match('^%d+$') and content('environ'):find('VMTEST_TEST_MARK=' .. M.mark, 1, true) then
      found[#found + 1] = (content('cmdline'):gsub('%z', ' '))
    end
  end
  return found
end

return M
