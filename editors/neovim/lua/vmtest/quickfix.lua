--- The quickfix list: where the last run failed, as the server's diagnostics say.

local client = require('vmtest.client')
local config = require('vmtest.config')

local M = {}

--- Codes that a diagnostic on a target has when a run put it there.
local verdicts = {
  failed = true,
  killed = true,
  ['timed-out'] = true,
  ['kernel-bug'] = true,
  ['boot-failed'] = true,
  lost = true,
  passed = true,
}

local TITLE = 'vmtest'

--- Versions that the server has looked at, by client and URI, and who waits for one.
---@type table<integer, table<string, integer>>
local seen = {}
---@type {client_id: integer, uri: string, version: integer, done: fun()}[]
local waiting = {}

---@param client_id integer
---@param wanted fun(diagnostic: vim.Diagnostic, is_config: boolean): boolean
---@return table[] items
local function items(client_id, wanted)
  local running = vim.lsp.get_client_by_id(client_id)
  local project = running and client.project(running)
  local namespace = vim.lsp.diagnostic.get_namespace(client_id)
  local function is_config(buf)
    return vim.fs.normalize(vim.api.nvim_buf_get_name(buf)) == project
  end
  local list = vim.diagnostic.toqflist(vim.tbl_filter(function(diagnostic)
    return wanted(diagnostic, is_config(diagnostic.bufnr))
  end, vim.diagnostic.get(nil, { namespace = namespace })))
  local places = {}
  for place, item in ipairs(list) do
    places[item] = place + (is_config(item.bufnr) and #list or 0)
    -- A list has lines. The rest is in the diagnostic, where the entry leads to.
    item.text = item.text:match('^[^\n]*')
  end
  -- Places in the sources first: there is what to mend.
  table.sort(list, function(a, b)
    return places[a] < places[b]
  end)
  return list
end

--- A run has ended: what it found is a list, in place of that of the run before. A list of something else stays while
--- there is nothing to show.
---@param client_id integer
function M.run_ended(client_id)
  if not config.get().quickfix then
    return
  end
  local found = items(client_id, function(diagnostic, is_config)
    local of_run = not is_config or not diagnostic.code or verdicts[diagnostic.code]
    return of_run and diagnostic.severity <= vim.diagnostic.severity.WARN
  end)
  local replaces = vim.fn.getqflist({ title = 1 }).title == TITLE
  if replaces or #found > 0 then
    vim.fn.setqflist({}, replaces and 'r' or ' ', { title = TITLE, items = found })
  end
end

--- The server is gone.
---@param client_id integer
function M.forget(client_id)
  seen[client_id] = nil
  waiting = vim.tbl_filter(function(one)
    return one.client_id ~= client_id
  end, waiting)
end

--- `textDocument/publishDiagnostics`, after Neovim has taken them.
---@param params table
---@param client_id integer
function M.published(params, client_id)
  if params.version then
    seen[client_id] = seen[client_id] or {}
    seen[client_id][params.uri] = params.version
    local still = {}
    for _, one in ipairs(waiting) do
      if one.client_id == client_id and one.uri == params.uri and params.version >= one.version then
        one.done()
      else
        still[#still + 1] = one
      end
    end
    waiting = still
  end
end

--- Puts what is wrong with a vmtest.toml into the list, as soon as the server has looked at the text that is shown.
---@param path string
function M.check(path)
  client.ensure(path, function(running, buf)
    local function show()
      local found = items(running.id, function(_, is_config)
        return is_config
      end)
      vim.fn.setqflist({}, ' ', { title = 'vmtest check', items = found })
      local count = #found == 1 and '1 problem' or ('%d problems'):format(#found)
      client.say(#found == 0 and 'no problems' or count .. ', see :copen')
    end
    local uri, version = vim.uri_from_bufnr(buf), vim.lsp.util.buf_versions[buf] or 0
    if (seen[running.id] or {})[uri] and seen[running.id][uri] >= version then
      return show()
    end
    waiting[#waiting + 1] =
      { client_id = running.id, uri = uri, version = version, done = vim.schedule_wrap(show) }
  end)
end

return M
