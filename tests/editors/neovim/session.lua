--- A Neovim on the other side of its standard streams, and the screen that it draws. Two things vim.rpcrequest() cannot
--- do: give up on an answer, and tell what is on the screen of an editor that waits for a key and answers nothing else.

local mpack = vim.mpack

---@class Session
---@field exited boolean
---@field patience integer milliseconds for which the editor may wait for a key: it does so for a moment between the keys
--- that it gets; longer is a prompt that nobody expected
---@field private process uv.uv_process_t
---@field private input uv.uv_pipe_t
---@field private rpc table
---@field private grid string[][] cells, by row and column
---@field private clock uv.uv_timer_t
---@field private blocked_since? integer
local Session = {}
Session.__index = Session

--- What the editor draws; the rest of what it says of its screen is colours.
local draw = {}

function draw.grid_resize(grid, _, width, height)
  for row = 1, height do
    grid[row] = grid[row] or {}
    for column = 1, width do
      grid[row][column] = grid[row][column] or ' '
    end
    grid[row][width + 1] = nil
  end
  grid[height + 1] = nil
end

function draw.grid_clear(grid)
  for _, cells in ipairs(grid) do
    for column = 1, #cells do
      cells[column] = ' '
    end
  end
end

function draw.grid_line(grid, _, row, column, cells)
  for _, cell in ipairs(cells) do
    for _ = 1, cell[3] or 1 do
      column = column + 1
      grid[row + 1][column] = cell[1]
    end
  end
end

function draw.grid_scroll(grid, _, top, bottom, left, right, rows)
  local first, last, step = top + 1, bottom - rows, 1
  if rows < 0 then
    first, last, step = bottom, top + 1 - rows, -1
  end
  for row = first, last, step do
    for column = left + 1, right do
      grid[row][column] = grid[row + rows][column]
    end
  end
end

---@param cmd string[]
---@param options {cwd: string, env: table<string, string>} the environment is added to that of the tests
---@return Session
function Session.start(cmd, options)
  local function reference(_, packed)
    return mpack.decode(packed)
  end
  local self = setmetatable({ exited = false, patience = 5000, grid = {} }, Session)
  -- A buffer, a window and a tab page are their numbers.
  self.rpc = mpack.Session({
    unpack = mpack.Unpacker({ ext = { [0] = reference, [1] = reference, [2] = reference } }),
  })
  self.input = assert(vim.uv.new_pipe())
  local output = assert(vim.uv.new_pipe())
  local env = {}
  for name, value in pairs(vim.tbl_extend('force', vim.fn.environ(), options.env)) do
    env[#env + 1] = ('%s=%s'):format(name, value)
  end
  self.process = assert(vim.uv.spawn(cmd[1], {
    args = vim.list_slice(cmd, 2),
    cwd = options.cwd,
    env = env,
    stdio = { self.input, output, 2 },
  }, function()
    self.exited = true
    self.clock:close()
    self.input:close()
    self.process:close()
  end))
  output:read_start(function(_, data)
    if data then
      self:receive(data)
    else
      output:close()
    end
  end)
  self.clock = assert(vim.uv.new_timer())
  self.clock:start(0, 100, function()
    self:send('nvim_get_mode', {}, function(_, mode)
      self.blocked_since = mode and mode.blocking and (self.blocked_since or vim.uv.now()) or nil
    end)
  end)
  return self
end

---@private
function Session:receive(data)
  local at = 1
  while at <= #data do
    local kind, id, method, content
    kind, id, method, content, at = self.rpc:receive(data, at)
    if kind == 'response' then
      local failed = method ~= mpack.NIL
      id(failed and method or nil, not failed and content or nil)
    elseif kind == 'notification' and method == 'redraw' then
      for _, event in ipairs(content) do
        for place = 2, draw[event[1]] and #event or 0 do
          draw[event[1]](self.grid, unpack(event[place]))
        end
      end
    end
  end
end

--- Asks; the answer comes later.
---@param method string
---@param arguments any[]
---@param done? fun(failure: any, result: any)
function Session:send(method, arguments, done)
  if not self.exited then
    self.input:write(
      self.rpc:request(done or function() end) .. mpack.encode(method) .. mpack.encode(arguments)
    )
  end
end

--- Waits until something is true. Fails when it is not in time, or never will be because the editor waits for a key.
---@param limit integer in milliseconds
---@param what string for the message
---@param condition fun(): any
function Session:wait(limit, what, condition)
  local met, stuck
  -- vim.wait() does not count the time between events that come fast.
  local deadline = vim.uv.hrtime() + limit * 1e6
  vim.wait(limit, function()
    met = condition()
    stuck = self.blocked_since and vim.uv.now() - self.blocked_since > self.patience
    return met or stuck or self.exited or vim.uv.hrtime() > deadline
  end, 10)
  if not met then
    local state = stuck and ': the editor waits for a key' or self.exited and ': the editor has ended' or ''
    error(('waited in vain for %s%s'):format(what, state), 0)
  end
end

--- The same, and asks before every look.
---@param limit integer
---@param what string
---@param question {[1]: string, [2]: any[]} a method and its arguments
---@param condition fun(failure: any, result: any): any takes the last answer, and nothing before there is one
function Session:wait_asking(limit, what, question, condition)
  local answer = {}
  local asking, last = false, 0
  self:wait(limit, what, function()
    -- An answer wakes us up; the editor has other things to do than to answer all the time.
    if not asking and vim.uv.hrtime() - last > 20 * 1e6 then
      asking, last = true, vim.uv.hrtime()
      self:send(question[1], question[2], function(failure, result)
        asking, answer = false, { failure, result }
      end)
    end
    return condition(answer[1], answer[2])
  end)
end

--- Asks, and waits for the answer.
---@param limit integer
---@param method string
---@param ... any
function Session:request(limit, method, ...)
  local answered, failure, result = false, nil, nil
  self:send(method, { ... }, function(...)
    answered, failure, result = true, ...
  end)
  self:wait(limit, 'the answer to ' .. method, function()
    return answered
  end)
  if failure then
    error(failure[2], 0)
  end
  return result
end

--- Types.
---@param keys string
function Session:type(keys)
  self.blocked_since = nil
  self:send('nvim_input', { keys })
end

--- What the editor has drawn.
---@return string
function Session:screen()
  local lines = {}
  for row, cells in ipairs(self.grid) do
    lines[row] = table.concat(cells):gsub('%s+$', '')
  end
  return table.concat(lines, '\n')
end

--- Ends the process where it does not end by itself.
function Session:kill()
  if not self.exited then
    self.process:kill('sigterm')
  end
end

return Session
