--- The language client: which buffers it is for, what it announces, and how the server is asked.

local config = require('vmtest.config')

local M = {}

local NAME = 'vmtest'
M.FILE = 'vmtest.toml'

local has_011 = vim.fn.has('nvim-0.11') == 1

--- Tells what a user must read.
---@param message string
---@param level? integer
function M.say(message, level)
  vim.notify('vmtest: ' .. message, level or vim.log.levels.INFO)
end

--- The path of a buffer that is a vmtest.toml; nil for any other.
---@param buf integer
---@return string?
function M.path(buf)
  local name = vim.api.nvim_buf_get_name(buf)
  if vim.bo[buf].buftype == '' and vim.fs.basename(name) == M.FILE and not name:find('^%a[%w+.-]+://') then
    return vim.fs.normalize(name)
  end
end

--- Where the server of a buffer belongs; nil for buffers that are none of ours, and when there is no server, which is
--- said once.
---@param buf integer
---@return string?
local function root(buf)
  local path = M.path(buf)
  if not path then
    return
  end
  local cmd, missing = config.server()
  if not cmd then
    vim.notify_once(missing --[[@as string]], vim.log.levels.WARN)
    return
  end
  return vim.fs.dirname(path)
end

local function on_attach(client, buf)
  require('vmtest.trust').watch(buf)
  require('vmtest.lens').attach(client, buf)
end

--- What vim.lsp.config or vim.lsp.start takes.
---@return table
function M.config()
  local capabilities = vim.lsp.protocol.make_client_capabilities()
  return {
    name = NAME,
    cmd = function(dispatchers)
      local cmd, missing = config.server()
      return vim.lsp.rpc.start(assert(cmd, missing), dispatchers)
    end,
    filetypes = { 'toml' },
    root_dir = function(buf, on_dir)
      local dir = root(buf)
      if dir then
        on_dir(dir)
      end
    end,
    capabilities = vim.tbl_deep_extend('force', capabilities, {
      workspace = { codeLens = { refreshSupport = true } },
      experimental = { vmtest = { runEvents = true, shell = true } },
    }),
    before_init = function(params, resolved)
      local options = vim.tbl_extend('force', config.for_server(), resolved.init_options or {})
      options.trusted = require('vmtest.trust').is_granted(vim.fs.joinpath(resolved.root_dir, M.FILE))
      params.initializationOptions = options
    end,
    on_attach = on_attach,
    on_exit = function(_, _, id)
      vim.schedule(function()
        require('vmtest.runs').server_left(id)
      end)
    end,
    handlers = {
      ['vmtest/runEvent'] = function(_, event, ctx)
        for field, value in pairs(event) do
          if value == vim.NIL then -- JSON's null, which Neovim 0.12 hands on.
            event[field] = nil
          end
        end
        require('vmtest.runs').event(event, ctx.client_id)
      end,
      ['textDocument/publishDiagnostics'] = function(err, params, ctx, ...)
        vim.lsp.handlers['textDocument/publishDiagnostics'](err, params, ctx, ...)
        require('vmtest.quickfix').published(params, ctx.client_id)
      end,
      ['workspace/codeLens/refresh'] = require('vmtest.lens').on_refresh(),
    },
    -- Where the server would ask about trust, the answer would be forgotten with it. So what runs is asked for here.
    commands = {
      ['vmtest.server.run'] = function(command)
        local target = command.arguments[1]
        require('vmtest').run(vim.uri_to_fname(target.uri), { { name = target.name, index = target.index } })
      end,
      ['vmtest.server.runAll'] = function(command)
        require('vmtest').run(vim.uri_to_fname(command.arguments[1].uri))
      end,
      ['vmtest.client.shell'] = function(command)
        local target = command.arguments[1]
        require('vmtest').shell(vim.uri_to_fname(target.uri), target.name)
      end,
    },
  }
end

--- Starts the server for a buffer, where it is a vmtest.toml and vim.lsp.enable() has not done that yet.
---@param buf integer
---@return boolean whether there is one now
function M.attach(buf)
  local dir = root(buf)
  if not dir then
    return false
  end
  local resolved = vim.lsp.config and vim.deepcopy(vim.lsp.config[NAME]) or M.config()
  resolved.root_dir = dir
  return vim.lsp.start(resolved, { bufnr = buf, reuse_client = resolved.reuse_client }) ~= nil
end

--- The running server of a project.
---@param path string its vmtest.toml
---@return vim.lsp.Client?
function M.get(path)
  local dir = vim.fs.dirname(path)
  for _, client in ipairs(vim.lsp.get_clients({ name = NAME })) do
    if client.config.root_dir == dir and client.initialized then
      return client
    end
  end
end

--- The server's project.
---@param client vim.lsp.Client
---@return string path
function M.project(client)
  return vim.fs.joinpath(client.config.root_dir, M.FILE)
end

--- Calls `done` with the project's server and the buffer of its vmtest.toml; loads and starts what was not there.
---@param path string
---@param done fun(client: vim.lsp.Client, buf: integer)
function M.ensure(path, done)
  local buf = vim.fn.bufadd(path)
  vim.fn.bufload(buf)
  if vim.bo[buf].filetype == '' then
    vim.bo[buf].filetype = 'toml'
  end
  local client = M.get(path)
  if client and vim.lsp.buf_is_attached(buf, client.id) then
    return done(client, buf)
  end
  local waiting = vim.api.nvim_create_autocmd('LspAttach', {
    callback = function(args)
      client = vim.lsp.get_client_by_id(args.data.client_id)
      if args.buf ~= buf or not client or client.name ~= NAME then
        return
      end
      -- Not within the autocommand: on_attach comes after it.
      vim.schedule(function()
        done(client, buf)
      end)
      return true
    end,
  })
  if not M.attach(buf) then
    vim.api.nvim_del_autocmd(waiting)
    M.say('there is no server for ' .. path, vim.log.levels.ERROR)
  end
end

--- Sends a request; `done` gets the result. An error is shown.
---@param client vim.lsp.Client
---@param method string
---@param params table
---@param done? fun(result: any)
function M.request(client, method, params, done)
  local function handler(err, result)
    if err then
      M.say(err.message, vim.log.levels.ERROR)
    elseif done then
      done(result)
    end
  end
  if has_011 then
    client:request(method, params, handler)
  else
    client.request(method, params, handler)
  end
end

--- The same, and waits: for completion, which cannot do anything else.
---@param client vim.lsp.Client
---@param method string
---@param params table
---@return any result nil when there is none in time
function M.request_sync(client, method, params)
  local limit = 1000
  local response
  if has_011 then
    response = client:request_sync(method, params, limit)
  else
    response = client.request_sync(method, params, limit, 0)
  end
  return response and response.result
end

--- Sends a notification.
---@param client vim.lsp.Client
---@param method string
---@param params table
function M.notify(client, method, params)
  if has_011 then
    client:notify(method, params)
  else
    client.notify(method, params)
  end
end

return M
