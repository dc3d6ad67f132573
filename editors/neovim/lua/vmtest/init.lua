--- What `:Vmtest` does, as functions. There is no setup().

local M = {}

--- The project of the last run.
---@type string?
local last

--- How often the user has asked for something, and the number of the question that the last run answers.
local asked, last_order = 0, 0

---@class vmtest.LastRun
---@field names? string[] its targets, all when there are none; by name, because places change when the file is edited
---@field due boolean whether it is about to be repeated

--- The last run of each project.
---@type table<string, vmtest.LastRun>
local last_of = {}

local function client()
  return require('vmtest.client')
end

--- The vmtest.toml in a folder, or else in the nearest one above it.
---@param dir string
---@return string? path
local function above(dir)
  local found = vim.fs.find(client().FILE, { upward = true, path = dir, type = 'file' })[1]
  return found and vim.fs.normalize(found)
end

--- The vmtest.toml that the current buffer belongs to: itself, or the nearest one above it.
---@return string? path
function M.project()
  local own = client().path(0)
  if own then
    return own
  end
  local name = vim.bo.buftype == '' and vim.api.nvim_buf_get_name(0) or ''
  return above(name ~= '' and vim.fs.dirname(vim.fs.normalize(name)) or vim.uv.cwd()) or last
end

---@param path? string
---@param done fun(path: string, client: vim.lsp.Client, buf: integer, asked: integer)
local function with_project(path, done)
  asked = asked + 1
  local order = asked
  path = path or M.project()
  if not path then
    return client().say('there is no vmtest.toml here', vim.log.levels.ERROR)
  end
  local _, missing = require('vmtest.config').server()
  if missing then
    return vim.notify(missing, vim.log.levels.ERROR)
  end
  client().ensure(path, function(running, buf)
    done(path, running, buf, order)
  end)
end

--- Calls `done` with the target under the cursor, or the one that the user picks where there is none.
---@param running vim.lsp.Client
---@param buf integer
---@param interactive boolean whether interactive shells are offered
---@param done fun(target: table)
local function pick(running, buf, interactive, done)
  local cursor = vim.api.nvim_get_current_buf() == buf and vim.api.nvim_win_get_cursor(0)[1] - 1 or -1
  client().request(running, 'vmtest/targets', { uri = vim.uri_from_bufnr(buf) }, function(targets)
    local here
    for _, target in ipairs(targets) do
      if target.range.start.line <= cursor then
        here = target
      end
    end
    local offered = vim.tbl_filter(function(target)
      return interactive or not target.interactive
    end, targets)
    if here or #offered == 1 then
      return done(here or offered[1])
    elseif #offered == 0 then
      return client().say('there is no target for this', vim.log.levels.ERROR)
    end
    vim.ui.select(offered, {
      kind = 'vmtest.target',
      prompt = 'Which target?',
      format_item = function(target)
        return target.name
      end,
    }, function(target)
      if target then
        done(target)
      end
    end)
  end)
end

--- With `run_on_save`, a file that is saved repeats the last run of its project; files saved together do so once.
local function watch_saves()
  vim.api.nvim_create_autocmd('BufWritePost', {
    group = vim.api.nvim_create_augroup('vmtest.save', {}),
    callback = function(args)
      local path = above(vim.fs.dirname(vim.fs.normalize(args.match)))
      local run = path and last_of[path]
      local wanted = run and not run.due and require('vmtest.config').get().run_on_save
      -- A commit's message is part of no test.
      if wanted and not args.match:find('/.git/', 1, true) then
        run.due = true
        vim.schedule(function()
          run.due = false
          M.run(path, run.names)
        end)
      end
    end,
  })
end

---@param path string
---@param running vim.lsp.Client
---@param buf integer
---@param order integer when the user asked for it, among all that was asked for
---@param targets? (string|{name: string, index: integer})[]
local function start(path, running, buf, order, targets)
  require('vmtest.trust').ensure(path, function()
    local settings = { vmtest = require('vmtest.config').for_server() }
    client().notify(running, 'workspace/didChangeConfiguration', { settings = settings })
    client().request(running, 'vmtest/run', { uri = vim.uri_from_bufnr(buf), targets = targets }, function()
      local names = targets
        and vim.tbl_map(function(target)
          return type(target) == 'table' and target.name or target
        end, targets)
      last_of[path] = { names = names, due = false }
      -- One server may answer later than another that was asked after it.
      if order > last_order then
        last, last_order = path, order
      end
      watch_saves()
    end)
  end)
end

--- Runs targets of a project; all of them when there are none.
---@param path? string a vmtest.toml; the current project's when it is missing
---@param targets? (string|{name: string, index: integer})[]
function M.run(path, targets)
  with_project(path, function(found, running, buf, order)
    start(found, running, buf, order, targets)
  end)
end

--- Runs the target under the cursor; one that the user picks, where there is none.
function M.run_here()
  with_project(nil, function(path, running, buf, order)
    pick(running, buf, false, function(target)
      start(path, running, buf, order, { { name = target.name, index = target.index } })
    end)
  end)
end

--- Repeats the last run.
function M.last()
  if not last then
    return client().say('nothing has run yet', vim.log.levels.WARN)
  end
  M.run(last, last_of[last].names)
end

--- Runs a command of the server for every target of a name.
local function for_named(running, buf, names, command)
  local uri = vim.uri_from_bufnr(buf)
  client().request(running, 'vmtest/targets', { uri = uri }, function(targets)
    for _, name in ipairs(names) do
      local found = false
      for _, target in ipairs(targets) do
        if target.name == name then
          found = true
          client().request(running, 'workspace/executeCommand', {
            command = command,
            arguments = { { uri = uri, name = target.name, index = target.index } },
          })
        end
      end
      if not found then
        client().say(('there is no target `%s`'):format(name), vim.log.levels.ERROR)
      end
    end
  end)
end

--- Stops targets; everything that runs of the project when there are none.
---@param names? string[]
function M.stop(names)
  with_project(nil, function(path, running, buf)
    if names and #names > 0 then
      return for_named(running, buf, names, 'vmtest.server.stop')
    end
    local ids = require('vmtest.runs').of(path)
    if #ids == 0 then
      return client().say('nothing is running')
    end
    for _, id in ipairs(ids) do
      client().request(running, 'vmtest/cancel', { runId = id })
    end
  end)
end

--- Opens a shell in a VM of a target, in a terminal.
---@param path? string
---@param name? string the one under the cursor when it is missing
function M.shell(path, name)
  with_project(path, function(found, running, buf)
    local function open(target)
      require('vmtest.shell').open(found, buf, target.name)
    end
    if name then
      return open({ name = name })
    end
    pick(running, buf, true, open)
  end)
end

--- Shows the output of the project's runs; with a name, the log of that target's last run.
---@param names? string[]
function M.output(names)
  if names and #names > 0 then
    return with_project(nil, function(_, running, buf)
      for_named(running, buf, names, 'vmtest.server.log')
    end)
  end
  local path = M.project()
  if not path then
    return client().say('there is no vmtest.toml here', vim.log.levels.ERROR)
  end
  require('vmtest.output').open(path)
end

--- Closes the output's windows.
function M.close_output()
  local path = M.project()
  if path then
    require('vmtest.output').close(path)
  end
end

--- Puts the problems of vmtest.toml into the quickfix list.
function M.check()
  with_project(nil, function(path)
    require('vmtest.quickfix').check(path)
  end)
end

--- Trusts the project, after a question; or takes trust back.
---@param forget? boolean
function M.trust(forget)
  with_project(nil, function(path)
    if forget then
      require('vmtest.trust').forget(path)
      return client().say('this project is not trusted any more')
    end
    require('vmtest.trust').ensure(path, function()
      client().say('this project is trusted')
    end)
  end)
end

--- What runs now, for a statusline; empty when nothing does.
---@return string
function M.status()
  -- Called at every redraw, and long before anything runs.
  local runs = package.loaded['vmtest.runs']
  return runs and runs.status() or ''
end

return M
