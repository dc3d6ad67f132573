--- What a run looks like in a terminal: the same words as `vmtest` writes on the command line.

local M = {}

--- Text of the guest's console or of QEMU, in which control characters have no business.
local function line(text)
  return (text:gsub('%c', ' '))
end

local function bold(text)
  return ('\27[1m%s\27[0m'):format(text)
end

local function red(text)
  return ('\27[1;31m%s\27[0m'):format(text)
end

local function quote(lines, title, quoted)
  if quoted and #quoted > 0 then
    lines[#lines + 1] = title
    for _, text in ipairs(quoted) do
      lines[#lines + 1] = '  | ' .. line(text)
    end
  end
end

--- Seconds as a user reads them.
---@param seconds number
---@return string
function M.seconds(seconds)
  return ('%.1f s'):format(seconds)
end

local phases =
  { booting = '===> Booting', booted = '===> Setting up VM', command_started = '===> Running command' }

--- Lines for an event other than `output`; none for most.
---@param event table
---@param bug? table the first `kernel_bug` of the target
---@return string[]
function M.lines(event, bug)
  local lines = {}
  if event.event == 'booting' and event.attempt > 1 then
    return lines -- A notice says why it boots again.
  elseif phases[event.event] then
    lines[1] = bold(phases[event.event])
  elseif event.event == 'notice' then
    lines[1] = 'note: ' .. line(event.message)
  elseif event.event == 'finished' then
    lines[1] = event.headline and red(event.headline)
    if event.verdict == 'kernel_bug' then
      quote(lines, "The kernel's console said:", bug and bug.excerpt)
    elseif bug then
      lines[#lines + 1] = 'note: the kernel reported a bug: ' .. line(bug.title)
    end
    if event.help then
      lines[#lines + 1] = 'Help: ' .. line(event.help)
    end
    quote(lines, 'Last lines of the console:', event.console)
    quote(lines, 'QEMU said:', event.qemu_stderr)
    local lost = event.lost_writes
    if lost and lost.count > 0 then
      lines[#lines + 1] = ('note: written outside the project and thrown away: %s%s'):format(
        line(table.concat(lost.paths, ', ', 1, math.min(5, #lost.paths))),
        lost.count > 5 and ', …' or ''
      )
    end
    local took = ' in ' .. M.seconds(event.durations.total_seconds)
    lines[#lines + 1] = event.verdict == 'passed' and '\27[1;32mPASS\27[0m' .. took or red('FAILED') .. took
  end
  return lines
end

--- The first line of a target.
---@param name string
---@return string
function M.title(name)
  return bold('=> ' .. line(name))
end

--- Takes out of the guest's output what is not for the screen: commands to the terminal that a guest has no business to
--- give, such as setting the clipboard or the title.
---@class vmtest.Filter
---@field private rest string the beginning of a sequence whose end has not come yet
---@field private inside boolean whether what comes now belongs to a sequence
local Filter = {}
Filter.__index = Filter

---@return vmtest.Filter
function M.filter()
  return setmetatable({ rest = '', inside = false }, Filter)
end

---@param text string a piece of the output
---@return string
function Filter:feed(text)
  text, self.rest = self.rest .. text, ''
  local kept, at = {}, 1
  while at <= #text do
    if self.inside then
      -- Ended by BEL or ESC \, called off by CAN, SUB or another ESC.
      local stop = text:find('[\7\24\26\27]', at)
      if not stop then
        break
      end
      self.inside = false
      at = stop
      if text:byte(stop) ~= 27 then
        at = stop + 1
      elseif stop == #text then
        self.inside, self.rest = true, '\27'
        break
      elseif text:sub(stop + 1, stop + 1) == '\\' then
        at = stop + 2
      end
    else
      -- OSC, DCS, SOS, PM and APC.
      local start = text:find('\27[%]PX%^_]', at)
      if start then
        kept[#kept + 1] = text:sub(at, start - 1)
        at, self.inside = start + 2, true
      else
        local cut = text:byte(-1) == 27
        kept[#kept + 1] = text:sub(at, cut and -2 or -1)
        self.rest = cut and '\27' or ''
        break
      end
    end
  end
  return table.concat(kept)
end

return M
