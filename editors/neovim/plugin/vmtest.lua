-- Runs at every start of Neovim, so it only names things; the rest is loaded when it is used.

if vim.g.loaded_vmtest then
  return
end
vim.g.loaded_vmtest = true

if vim.fn.has('nvim-0.10') == 0 then
  vim.notify_once('vmtest needs Neovim 0.10 or newer', vim.log.levels.ERROR)
  return
end

vim.api.nvim_create_user_command('Vmtest', function(args)
  require('vmtest.command').run(args)
end, {
  nargs = '*',
  bang = true,
  desc = 'Run tests in virtual machines',
  complete = function(lead, line, position)
    return require('vmtest.command').complete(lead, line, position)
  end,
})

for name, what in pairs({
  run = { 'run', 'Run the target under the cursor in a VM' },
  ['run-all'] = { 'run!', 'Run every target in VMs' },
  stop = { 'stop', 'Stop the runs of this project' },
  shell = { 'shell', 'Open a shell in a VM of the target under the cursor' },
  output = { 'output', 'Show the output of runs' },
  last = { 'last', 'Repeat the last run' },
  check = { 'check', 'Put the problems of vmtest.toml into the quickfix list' },
}) do
  vim.keymap.set(
    'n',
    ('<Plug>(vmtest-%s)'):format(name),
    ('<Cmd>Vmtest %s<CR>'):format(what[1]),
    { desc = what[2] }
  )
end

if vim.lsp.config and vim.lsp.enable then
  vim.lsp.enable('vmtest') -- lsp/vmtest.lua
else
  local group = vim.api.nvim_create_augroup('vmtest.start', {})
  vim.api.nvim_create_autocmd('FileType', {
    group = group,
    pattern = 'toml',
    callback = function(args)
      require('vmtest.client').attach(args.buf)
    end,
  })
  -- The plugin may be loaded when the file is open already.
  for _, buf in ipairs(vim.api.nvim_list_bufs()) do
    if vim.api.nvim_buf_is_loaded(buf) and vim.bo[buf].filetype == 'toml' then
      require('vmtest.client').attach(buf)
    end
  end
end
