--- Lenses, which Neovim 0.12 keeps up to date by itself.

local config = require('vmtest.config')

local M = {}

--- Asks for them, before Neovim 0.12. They share the end of the line with diagnostics, in the order in which they were
--- drawn, and those are long: so diagnostics are drawn again.
local function ask(client, buf)
  local params = { textDocument = vim.lsp.util.make_text_document_params(buf) }
  require('vmtest.client').request(client, 'textDocument/codeLens', params, function(lenses)
    if vim.api.nvim_buf_is_loaded(buf) then
      local ctx = { method = 'textDocument/codeLens', client_id = client.id, bufnr = buf }
      vim.lsp.codelens.on_codelens(nil, lenses, ctx, {})
      vim.diagnostic.show(vim.lsp.diagnostic.get_namespace(client.id), buf)
    end
  end)
end

--- Shows them in a buffer.
---@param client vim.lsp.Client
---@param buf integer
function M.attach(client, buf)
  if not config.get().codelens then
    return
  end
  if vim.lsp.codelens.enable then
    vim.lsp.codelens.enable(true, { bufnr = buf })
    return
  end
  local function refresh()
    ask(client, buf)
  end
  local group = vim.api.nvim_create_augroup('vmtest.lens.' .. buf, {})
  vim.api.nvim_create_autocmd({ 'BufEnter', 'TextChanged', 'InsertLeave' }, {
    group = group,
    buffer = buf,
    callback = refresh,
  })
  vim.api.nvim_create_autocmd('LspDetach', {
    group = group,
    buffer = buf,
    callback = function(args)
      if args.data.client_id == client.id then
        vim.api.nvim_del_augroup_by_id(group)
      end
    end,
  })
  refresh()
end

--- What answers `workspace/codeLens/refresh`; nil where Neovim does.
---@return function?
function M.on_refresh()
  if vim.lsp.codelens.enable then
    return nil
  end
  return function(_, _, ctx)
    local client = vim.lsp.get_client_by_id(ctx.client_id)
    for buf in pairs(client and config.get().codelens and client.attached_buffers or {}) do
      ask(client, buf)
    end
    return vim.NIL
  end
end

return M
