--- The output of a project's runs: a terminal buffer that follows, in a window that never takes the focus.
---
--- Targets that run at once never mix: one has the floor and is written as it happens, the others wait, each in its own
--- spool, as on the command line.

local config = require('vmtest.config')
local report = require('vmtest.report')

local M = {}

--- Bytes kept of a target that waits for the floor. The log of the target has everything.
local SPOOL = 1024 * 1024

---@class vmtest.Block what one target writes
---@field filter vmtest.Filter
---@field broken boolean whether the last line has no end yet
---@field bug? table the first `kernel_bug`
---@field spool string[]
---@field spooled integer
---@field left_out boolean
---@field done boolean

---@class vmtest.Screen the output of one project
---@field path string
---@field buf? integer
---@field channel? integer
---@field blocks table<string, vmtest.Block>
---@field order string[] those blocks, as they began
---@field said table<string, boolean> notices that were written
local Screen = {}
Screen.__index = Screen

---@type table<string, vmtest.Screen>
local screens = {}

---@param path string a vmtest.toml
---@return vmtest.Screen
local function screen(path)
  screens[path] = screens[path] or setmetatable({ path = path, blocks = {}, order = {}, said = {} }, Screen)
  return screens[path]
end

function Screen:exists()
  return self.buf ~= nil and vim.api.nvim_buf_is_valid(self.buf)
end

local function prepare_window(win)
  local scope = { scope = 'local', win = win }
  for option, value in pairs({
    number = false,
    relativenumber = false,
    signcolumn = 'no',
    foldcolumn = '0',
    spell = false,
    list = false,
    winfixheight = true,
  }) do
    vim.api.nvim_set_option_value(option, value, scope)
  end
end

--- The last line of a terminal is followed by windows whose cursor is there.
local function follow(win, buf)
  vim.api.nvim_win_set_cursor(win, { vim.api.nvim_buf_line_count(buf), 0 })
end

--- A new, empty buffer, also in the windows that show the old one.
function Screen:renew()
  local old = self:exists() and self.buf or nil
  local windows = old and vim.fn.win_findbuf(old) or {}
  local buf = vim.api.nvim_create_buf(false, true)
  self.buf = buf
  for _, win in ipairs(windows) do
    vim.api.nvim_win_set_buf(win, buf)
  end
  local function open()
    self.channel = vim.api.nvim_open_term(buf, {})
  end
  -- A terminal is as wide as the window that is current when it is opened.
  if windows[1] then
    vim.api.nvim_win_call(windows[1], open)
  else
    open()
  end
  vim.bo[buf].scrollback = 100000
  vim.bo[buf].filetype = 'vmtest-output'
  vim.keymap.set('n', 'q', '<Cmd>close<CR>', { buffer = buf, desc = 'Close the output' })
  if old then
    vim.api.nvim_buf_delete(old, { force = true })
  end
  pcall(vim.api.nvim_buf_set_name, buf, 'vmtest://' .. vim.fs.dirname(self.path))
  for _, win in ipairs(windows) do
    prepare_window(win)
    follow(win, buf)
  end
end

function Screen:show()
  if not self:exists() then
    self:renew()
  end
  for _, win in ipairs(vim.fn.win_findbuf(self.buf)) do
    if vim.api.nvim_win_get_tabpage(win) == vim.api.nvim_get_current_tabpage() then
      return
    end
  end
  -- Not possible while the command line has its window.
  local ok, win = pcall(vim.api.nvim_open_win, self.buf, false, {
    win = -1,
    split = 'below',
    height = config.get().output_height + 1,
  })
  if ok then
    prepare_window(win)
    -- A window that is not current gives the terminal its size only when it is resized.
    vim.api.nvim_win_set_height(win, config.get().output_height)
    follow(win, self.buf)
  end
end

function Screen:write(text)
  if self:exists() and text ~= '' then
    vim.api.nvim_chan_send(self.channel, text)
  end
end

--- Writes for a block: at once when it has the floor, else later.
function Screen:put(id, text)
  if self.order[1] == id then
    return self:write(text)
  end
  local block = self.blocks[id]
  block.spool[#block.spool + 1] = text
  block.spooled = block.spooled + #text
  while block.spooled > SPOOL and #block.spool > 1 do
    block.spooled = block.spooled - #table.remove(block.spool, 1)
    block.left_out = true
  end
end

function Screen:put_lines(id, lines)
  local block = self.blocks[id]
  for _, line in ipairs(lines) do
    self:put(id, (block.broken and '\n' or '') .. line .. '\n')
    block.broken = false
  end
end

--- Gives the floor to the next one when the first is done.
function Screen:pass_floor_on()
  while self.order[1] and self.blocks[self.order[1]].done do
    self.blocks[table.remove(self.order, 1)] = nil
    -- What is done goes first, so that what still runs can be followed.
    for place, id in ipairs(self.order) do
      if self.blocks[id].done then
        table.insert(self.order, 1, table.remove(self.order, place))
        break
      end
    end
    local next = self.blocks[self.order[1]]
    if next then
      if next.left_out then
        self:write('[the beginning is left out; the log has everything: :Vmtest output NAME]\n')
      end
      self:write(table.concat(next.spool))
      next.spool = {}
    end
  end
end

--- A run begins: shows the output, emptied when nothing else is being written.
---@param path string
function M.begin(path)
  local it = screen(path)
  if #it.order == 0 then
    it:renew()
  end
  if config.get().open_output then
    it:show()
  end
end

--- Takes an event of a run.
---@param path string
---@param event table
function M.event(path, event)
  local it, id = screen(path), event.run_id .. '/' .. event.index
  local block = it.blocks[id]
  if not block then
    local nothing = event.event == 'queued' or (event.event == 'finished' and event.verdict == 'cancelled')
    if nothing then
      return -- It never began.
    end
    block =
      { filter = report.filter(), broken = false, spool = {}, spooled = 0, left_out = false, done = false }
    it.blocks[id] = block
    it.order[#it.order + 1] = id
    it:put_lines(id, { report.title(event.target) })
  end
  if event.event == 'output' then
    local text = block.filter:feed(event.text or vim.base64.decode(event.base64))
    if text ~= '' then
      block.broken = text:sub(-1) ~= '\n'
      it:put(id, text)
    end
    return
  end
  if event.event == 'kernel_bug' then
    block.bug = block.bug or event -- The first one is the cause, as a rule.
  elseif event.event == 'notice' then
    if it.said[event.message] then
      return
    end
    it.said[event.message] = true
  elseif event.event == 'finished' then
    -- Whatever the guest did to the terminal: colours off, cursor shown, no second screen (1049 would move the cursor).
    it:put(id, '\27[0m\27[?25h\27[?1047l')
  end
  it:put_lines(id, report.lines(event, block.bug))
  if event.event == 'finished' then
    block.done = true
    it:pass_floor_on()
  end
end

--- Opens the window; the focus stays where it is.
---@param path string
function M.open(path)
  screen(path):show()
end

--- Closes the windows.
---@param path string
function M.close(path)
  local it = screen(path)
  for _, win in ipairs(it:exists() and vim.fn.win_findbuf(it.buf) or {}) do
    pcall(vim.api.nvim_win_close, win, false)
  end
end

return M
