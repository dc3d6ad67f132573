--- `:checkhealth vmtest`.

local M = {}

local health = vim.health

local function neovim()
  health.start('Neovim')
  local version = tostring(vim.version())
  if vim.fn.has('nvim-0.10') == 0 then
    return health.error(version .. ' is too old', 'vmtest needs Neovim 0.10 or newer')
  end
  health.ok(version)
  health.info('vim.lsp.config: ' .. (vim.lsp.config and 'used' or 'not there before 0.11, done without'))
  local lenses = vim.lsp.codelens.enable and 'used' or 'not there before 0.12, done without'
  health.info('vim.lsp.codelens.enable: ' .. lenses)
end

local function settings()
  health.start('Settings')
  local problems = require('vmtest.config').problems()
  for _, problem in ipairs(problems) do
    health.warn(problem, 'see :help vmtest-settings')
  end
  if #problems == 0 then
    health.ok(vim.g.vmtest == nil and 'vim.g.vmtest is not set' or 'vim.g.vmtest is fine')
  end
end

local function run(cmd)
  local ok, process = pcall(vim.system, cmd, { text = true, timeout = 20000 })
  return ok and process:wait() or { code = -1, stdout = '', stderr = tostring(process) }
end

local function server()
  health.start('Server')
  local cmd, missing = require('vmtest.config').command('--version')
  if not cmd then
    return health.error(missing, 'see :help vmtest-install')
  end
  local result = run(cmd)
  if result.code ~= 0 then
    return health.error(('`%s` fails: %s'):format(table.concat(cmd, ' '), vim.trim(result.stderr)))
  end
  health.ok(('%s is %s'):format(vim.fn.exepath(cmd[1]), vim.trim(result.stdout)))
  local clients = vim.lsp.get_clients({ name = 'vmtest' })
  for _, client in ipairs(clients) do
    health.ok('running for ' .. client.config.root_dir)
  end
  if #clients == 0 then
    health.info('not running; it starts with the first vmtest.toml')
  end
end

local function trust()
  health.start('Trust')
  for _, client in ipairs(vim.lsp.get_clients({ name = 'vmtest' })) do
    local path = require('vmtest.client').project(client)
    if require('vmtest.trust').is_granted(path) then
      health.ok(path .. ' is trusted')
    else
      health.info(path .. ' is not trusted; the first run asks')
    end
  end
  health.info('remembered in ' .. require('vmtest.trust').store())
end

local function machine()
  local cmd = require('vmtest.config').command('doctor')
  if not cmd then
    return
  end
  health.start('This machine, as `vmtest doctor` sees it')
  local result = run(cmd)
  local text = vim.trim((result.stdout or '') .. (result.stderr or ''))
  for line in vim.gsplit(text, '\n') do
    health.info(line)
  end
  if result.code ~= 0 then
    health.warn('something is missing', 'run `vmtest doctor` in a terminal')
  end
end

function M.check()
  neovim()
  settings()
  server()
  trust()
  machine()
end

return M
