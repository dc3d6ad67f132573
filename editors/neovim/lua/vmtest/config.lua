--- What the user says in `vim.g.vmtest`. Read whenever it is needed, so that it may be set at any time.

local M = {}

---@class vmtest.Config
---@field cmd? string|string[] the program, instead of `vmtest` on PATH
---@field jobs? integer how many targets run at once
---@field codelens boolean whether lenses are shown
---@field open_output boolean whether a run opens the output
---@field output_height integer lines of the output's window
---@field quickfix boolean whether the end of a run fills the quickfix list

local defaults = { codelens = true, open_output = true, output_height = 12, quickfix = true }

local types = {
  cmd = { 'string', 'table' },
  jobs = { 'number' },
  codelens = { 'boolean' },
  open_output = { 'boolean' },
  output_height = { 'number' },
  quickfix = { 'boolean' },
}

--- What is wrong with `vim.g.vmtest`, a sentence each.
---@return string[]
function M.problems()
  local given = vim.g.vmtest
  if given == nil then
    return {}
  end
  if type(given) ~= 'table' then
    return { ('vim.g.vmtest must be a table, not a %s'):format(type(given)) }
  end
  local problems = {}
  for key, value in vim.spairs(given) do
    if not types[key] then
      problems[#problems + 1] = ('vim.g.vmtest has no key `%s`'):format(key)
    elseif not vim.tbl_contains(types[key], type(value)) then
      problems[#problems + 1] = ('vim.g.vmtest.%s must be a %s, not a %s'):format(
        key,
        table.concat(types[key], ' or a '),
        type(value)
      )
    end
  end
  return problems
end

--- The settings; a value of a wrong type counts as missing.
---@return vmtest.Config
function M.get()
  local config = vim.deepcopy(defaults)
  for key, value in pairs(type(vim.g.vmtest) == 'table' and vim.g.vmtest or {}) do
    if types[key] and vim.tbl_contains(types[key], type(value)) then
      config[key] = value
    end
  end
  return config
end

--- How vmtest is started with these arguments; nil and a sentence when it is not there.
---@param ... string
---@return string[]?, string?
function M.command(...)
  local cmd = M.get().cmd or 'vmtest'
  cmd = type(cmd) == 'table' and vim.deepcopy(cmd) or { cmd }
  cmd[1] = vim.fn.expand(cmd[1] or '')
  if vim.fn.executable(cmd[1]) == 0 then
    local where = M.get().cmd and ('vim.g.vmtest.cmd names `%s`, which cannot be run'):format(cmd[1])
      or 'there is no `vmtest` on PATH'
    return nil, ('vmtest: %s. Install it, or set vim.g.vmtest.cmd; see :help vmtest-install'):format(where)
  end
  return vim.list_extend(cmd, { ... })
end

return M
