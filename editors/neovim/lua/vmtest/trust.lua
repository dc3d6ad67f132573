--- Whether the user lets a project's vmtest.toml run. Remembered by the file's path and content; what is saved from
--- this editor keeps the trust, what changes the file elsewhere ends it.

local client = require('vmtest.client')

local M = {}

--- The content that a buffer's text comes from, by buffer: a hash of the file when it was read or written last.
---@type table<integer, string>
local base = {}

local asking = false

--- Where trust is kept.
---@return string path
function M.store()
  return vim.fs.joinpath(vim.fn.stdpath('state'), 'vmtest', 'trust.json')
end

local function key(path)
  return vim.uv.fs_realpath(path) or path
end

local function read(path)
  local file = io.open(path, 'rb')
  if not file then
    return nil
  end
  local text = file:read('*a')
  file:close()
  return text
end

--- A file that is not there yet counts as an empty one.
local function hash(path)
  return vim.fn.sha256(read(path) or '')
end

---@return table<string, string> hashes by path
local function remembered()
  local ok, known = pcall(vim.json.decode, read(M.store()) or '{}')
  return ok and type(known) == 'table' and known or {}
end

--- Another Neovim may write at the same time: what counts is replaced as a whole.
local function remember(path, value)
  local known = remembered()
  known[key(path)] = value
  if vim.tbl_isempty(known) then
    known = vim.empty_dict()
  end
  vim.fn.mkdir(vim.fs.dirname(M.store()), 'p', tonumber('700', 8))
  local new = ('%s.%d'):format(M.store(), vim.uv.os_getpid())
  local file = assert(io.open(new, 'wb'))
  file:write(vim.json.encode(known))
  file:close()
  assert(vim.uv.fs_rename(new, M.store()))
end

--- What would run: the text shown, by the file that it comes from.
local function current(path)
  if vim.fn.bufloaded(path) == 1 then
    return base[vim.fn.bufadd(path)] or hash(path)
  end
  return hash(path)
end

--- Whether what is shown of this file may run.
---@param path string
---@return boolean
function M.is_granted(path)
  return remembered()[key(path)] == current(path)
end

--- Whether the file has become another one than the one that is shown.
---@param path string
---@return boolean
function M.is_stale(path)
  return current(path) ~= hash(path)
end

--- The server must not know better than we do.
local function tell(path)
  local running = client.get(path)
  if running then
    client.notify(running, 'vmtest/didChangeTrust', { trusted = M.is_granted(path) })
  end
end

--- Follows what becomes of a buffer's file.
---@param buf integer
function M.watch(buf)
  local path = assert(client.path(buf))
  base[buf] = hash(path)
  tell(path)
  local group = vim.api.nvim_create_augroup('vmtest.trust.' .. buf, {})
  local function on(events, callback)
    vim.api.nvim_create_autocmd(events, { group = group, buffer = buf, callback = callback })
  end
  on('BufReadPost', function()
    base[buf] = hash(path)
    tell(path)
  end)
  local before
  on('BufWritePre', function()
    -- A file that somebody else changed meanwhile is overwritten with what was trusted; still, somebody was here.
    before = remembered()[key(path)] == base[buf] and base[buf] == hash(path)
  end)
  on('BufWritePost', function()
    base[buf] = hash(path)
    if before then
      remember(path, base[buf])
    end
    tell(path)
  end)
  -- Not with BufUnload, which `:edit` brings too.
  on({ 'BufDelete', 'BufWipeout', 'BufFilePost' }, function()
    base[buf] = nil
    pcall(vim.api.nvim_del_augroup_by_id, group)
  end)
end

--- Takes trust back.
---@param path string
function M.forget(path)
  remember(path, nil)
  tell(path)
end

--- Calls `done` when the project is trusted; asks first when it is not.
---@param path string
---@param done fun()
function M.ensure(path, done)
  if M.is_granted(path) then
    return done()
  end
  if asking then
    return client.say('answer the question about trust first', vim.log.levels.WARN)
  end
  asking = true
  local changed = remembered()[key(path)] and ', which has changed outside of Neovim' or ''
  local asked_about = current(path)
  vim.ui.select({ 'Trust this project', 'Cancel' }, {
    kind = 'vmtest.trust',
    prompt = ('Do you trust %s%s? Its commands run in virtual machines that can write to this folder.'):format(
      path,
      changed
    ),
  }, function(_, choice)
    asking = false
    if choice ~= 1 then
      return client.say('nothing runs without your trust')
    end
    if current(path) ~= asked_about then
      return client.say('the file has changed while you were asked; nothing runs', vim.log.levels.WARN)
    end
    remember(path, asked_about)
    tell(path)
    done()
  end)
end

return M
