--- A shell in a target's VM. It is a program of its own, `vmtest shell`, in a terminal of Neovim.

local client = require('vmtest.client')
local config = require('vmtest.config')
local trust = require('vmtest.trust')

local M = {}

--- Opens one in a split and goes there.
---@param path string a vmtest.toml
---@param buf integer its buffer
---@param name string a target
function M.open(path, buf, name)
  if vim.bo[buf].modified then
    -- The program reads the file, and the answer about trust was about the text.
    return client.say('save vmtest.toml first: a shell reads the file', vim.log.levels.WARN)
  end
  if trust.is_stale(path) then
    return client.say('vmtest.toml has changed outside of Neovim; :edit it first', vim.log.levels.WARN)
  end
  trust.ensure(path, function()
    local cmd = assert(config.command('shell', '-c', path, '--', name))
    vim.cmd('botright new')
    vim.bo.bufhidden = 'wipe'
    if vim.fn.has('nvim-0.11') == 1 then
      vim.fn.jobstart(cmd, { term = true, cwd = vim.fs.dirname(path) })
    else
      vim.fn.termopen(cmd, { cwd = vim.fs.dirname(path) })
    end
    vim.cmd.startinsert()
  end)
end

return M
