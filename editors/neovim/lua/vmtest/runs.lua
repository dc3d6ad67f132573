--- The runs that go on, as the server's events tell of them.

local client = require('vmtest.client')
local output = require('vmtest.output')
local quickfix = require('vmtest.quickfix')
local report = require('vmtest.report')

local M = {}

---@class vmtest.Run
---@field id string
---@field path string its vmtest.toml
---@field client_id integer
---@field targets table<integer, {name: string, phase: string, since: number, finished?: table}> by their index from 0
---@field count integer

---@type table<string, vmtest.Run>
local runs = {}

--- In the order in which they began.
---@type string[]
local order = {}

---@type uv.uv_timer_t?
local clock

local phases = {
  queued = 'queued',
  downloading = 'downloading',
  preparing = 'preparing',
  booting = 'booting',
  booted = 'setting up',
  command_started = 'running',
}

local function redraw()
  vim.cmd('redrawstatus!')
end

--- While something runs, the statusline shows the seconds.
local function wind_clock()
  if #order > 0 and not clock then
    clock = assert(vim.uv.new_timer())
    clock:start(1000, 1000, vim.schedule_wrap(redraw))
  elseif #order == 0 and clock then
    clock:close()
    clock = nil
  end
  redraw()
end

---@param run vmtest.Run
local function summary(run)
  local failed = {}
  for index = 0, run.count - 1 do
    local finished = run.targets[index].finished
    if finished.verdict ~= 'passed' then
      failed[#failed + 1] = ('%s: %s'):format(run.targets[index].name, finished.headline)
    end
  end
  if #failed == 0 then
    local one = run.count == 1 and run.targets[0]
    return one and ('%s passed in %s'):format(one.name, report.seconds(one.finished.durations.total_seconds))
      or ('all %d targets passed'):format(run.count)
  end
  return #failed == 1 and run.count == 1 and failed[1] or ('%d of %d targets did not pass; %s'):format(
    #failed,
    run.count,
    failed[1]
  ),
    true
end

---@param run vmtest.Run
local function ended(run)
  runs[run.id] = nil
  order = vim.tbl_filter(function(id)
    return id ~= run.id
  end, order)
  wind_clock()
  quickfix.run_ended(run.client_id)
  local text, bad = summary(run)
  -- One line, so that nobody has to press enter.
  text = vim.fn.strcharpart(text:gsub('%c', ' '), 0, math.max(20, vim.o.columns - 30))
  client.say(text, bad and vim.log.levels.WARN or vim.log.levels.INFO)
  local verdicts = {}
  for index = 0, run.count - 1 do
    local target = run.targets[index]
    verdicts[index + 1] = { target = target.name, verdict = target.finished.verdict }
  end
  vim.api.nvim_exec_autocmds('User', {
    pattern = 'VmtestFinished',
    modeline = false,
    data = { path = run.path, run_id = run.id, targets = verdicts },
  })
end

--- `vmtest/runEvent`.
---@param event table
---@param client_id integer
function M.event(event, client_id)
  local path = vim.uri_to_fname(event.uri)
  local run = runs[event.run_id]
  if not run then
    if event.event ~= 'queued' then
      return -- Of a run that is over.
    end
    run = { id = event.run_id, path = path, client_id = client_id, targets = {}, count = 0 }
    runs[run.id] = run
    order[#order + 1] = run.id
    output.begin(path)
  end
  local target = run.targets[event.index]
  if not target then
    target = { name = event.target, phase = 'queued', since = vim.uv.now() }
    run.targets[event.index] = target
    run.count = run.count + 1
  end
  if phases[event.event] and phases[event.event] ~= target.phase then
    target.phase, target.since = phases[event.event], vim.uv.now()
    redraw()
  end
  output.event(path, event)
  if event.event == 'finished' then
    target.finished = event
    for index = 0, run.count - 1 do
      if not run.targets[index].finished then
        return wind_clock()
      end
    end
    return ended(run)
  end
  if not clock then
    wind_clock()
  end
end

--- The server is gone, and with it what it ran.
---@param client_id integer
function M.server_left(client_id)
  for _, run in pairs(vim.deepcopy(runs)) do
    if run.client_id == client_id then
      for index, target in pairs(run.targets) do
        if not target.finished and runs[run.id] then
          M.event({
            event = 'finished',
            uri = vim.uri_from_fname(run.path),
            run_id = run.id,
            index = index,
            target = target.name,
            verdict = 'lost',
            headline = 'Lost: the language server has ended',
            durations = { total_seconds = 0 },
          }, client_id)
        end
      end
    end
  end
  quickfix.forget(client_id)
end

--- The ids of a project's runs.
---@param path string
---@return string[]
function M.of(path)
  return vim.tbl_filter(function(id)
    return runs[id].path == path
  end, order)
end

--- What goes on, for a statusline; empty when nothing does.
---@return string
function M.status()
  local active, waiting, done, first = 0, 0, 0, nil
  for _, id in ipairs(order) do
    for index = 0, runs[id].count - 1 do
      local target = runs[id].targets[index]
      if target.finished then
        done = done + 1
      elseif target.phase == 'queued' then
        waiting = waiting + 1
      else
        active = active + 1
        first = first or target
      end
    end
  end
  local all = active + waiting + done
  if all == 0 then
    return ''
  elseif first and active == 1 then
    local seconds = math.floor((vim.uv.now() - first.since) / 1000)
    local which = all > 1 and ('%d/%d '):format(done + 1, all) or ''
    return ('vmtest: %s%s %s, %d s'):format(which, first.name:gsub('%c', ' '), first.phase, seconds)
  end
  return ('vmtest: %d/%d done, %d at once'):format(done, all, active)
end

return M
