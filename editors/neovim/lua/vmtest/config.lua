--- What the user says in `vim.g.vmtest`. Read whenever it is needed, so that it may be set at any time.

local M = {}

---@class vmtest.Config
---@field cmd? string|string[] the program, instead of `vmtest` on PATH
---@field jobs? integer how many targets run at once
---@field warm_snapshots boolean whether guests are kept for an open file before anything runs
---@field codelens boolean whether lenses are shown
---@field open_output boolean whether a run opens the output
---@field output_height integer lines of the output's window
---@field quickfix boolean whether the end of a run fills the quickfix list
---@field run_on_save boolean whether saving a file of a project repeats its last run

--- The types that each may have, and what counts where nothing is said.
local options = {
  cmd = { 'string', 'table' },
  jobs = { 'number' },
  warm_snapshots = { 'boolean', default = false },
  codelens = { 'boolean', default = true },
  open_output = { 'boolean', default = true },
  output_height = { 'number', default = 12 },
  quickfix = { 'boolean', default = true },
  run_on_save = { 'boolean', default = false },
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
    local option = options[key]
    if not option then
      problems[#problems + 1] = ('vim.g.vmtest has no key `%s`'):format(key)
    elseif not vim.list_contains(option, type(value)) then
      local types = table.concat(option, ' or a ')
      problems[#problems + 1] = ('vim.g.vmtest.%s must be a %s, not a %s'):format(key, types, type(value))
    end
  end
  return problems
end

--- The settings; a value of a wrong type counts as missing.
---@return vmtest.Config
function M.get()
  local given = type(vim.g.vmtest) == 'table' and vim.g.vmtest or {}
  local config = {}
  for key, option in pairs(options) do
    config[key] = option.default
    if vim.list_contains(option, type(given[key])) then
      config[key] = given[key]
    end
  end
  return config
end

--- What of it the server is told, at its start and before each run.
---@return table
function M.for_server()
  local config = M.get()
  return { jobs = config.jobs or vim.NIL, warmSnapshots = config.warm_snapshots }
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

--- What a program says of itself, asked once as long as it is the same.
---@type table<string, string|false>
local asked = {}

--- How the language server is started; nil and a sentence when that is not possible. An older `vmtest` knows no `lsp`,
--- and would run every target of the vmtest.toml where it is started.
---@return string[]?, string?
function M.server()
  local cmd, missing = M.command('lsp')
  if not cmd then
    return nil, missing
  end
  local file = vim.uv.fs_stat(vim.fn.exepath(cmd[1])) or {}
  local key = vim.inspect({ cmd, file.ino, file.size, file.mtime })
  if asked[key] == nil then
    local ok, process =
      pcall(vim.system, vim.list_extend({ unpack(cmd) }, { '--help' }), { cwd = '/', timeout = 10000 })
    local said = ok and process:wait() or { code = -1, stdout = '' }
    local serves = said.code == 0 and said.stdout:find('vmtest lsp', 1, true)
    local why = 'vmtest: `%s` has no language server: it is too old, or another program. '
      .. 'Install vmtest, or set vim.g.vmtest.cmd; see :help vmtest-install'
    asked[key] = not serves and why:format(cmd[1]) or false
  end
  if asked[key] then
    return nil, asked[key] --[[@as string]]
  end
  return cmd
end

return M
