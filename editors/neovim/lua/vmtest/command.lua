--- `:Vmtest`: its subcommands and their completion.

local M = {}

---@class vmtest.Subcommand
---@field run fun(names: string[], bang: boolean)
---@field targets? integer how many names of targets it takes; -1 is any number
---@field interactive? boolean whether interactive shells are among them

---@type table<string, vmtest.Subcommand>
local subcommands = {
  run = {
    targets = -1,
    run = function(names, bang)
      if bang then
        require('vmtest').run()
      elseif #names > 0 then
        require('vmtest').run(nil, names)
      else
        require('vmtest').run_here()
      end
    end,
  },
  stop = {
    targets = -1,
    run = function(names)
      require('vmtest').stop(names)
    end,
  },
  shell = {
    targets = 1,
    interactive = true,
    run = function(names)
      require('vmtest').shell(nil, names[1])
    end,
  },
  output = {
    targets = 1,
    run = function(names, bang)
      if bang then
        require('vmtest').close_output()
      else
        require('vmtest').output(names)
      end
    end,
  },
  last = {
    run = function()
      require('vmtest').last()
    end,
  },
  check = {
    run = function()
      require('vmtest').check()
    end,
  },
  trust = {
    run = function(_, bang)
      require('vmtest').trust(bang)
    end,
  },
}

local function complain(text)
  require('vmtest.client').say(text, vim.log.levels.ERROR)
end

--- Runs the command.
---@param args table what nvim_create_user_command gives
function M.run(args)
  local names = vim.list_slice(args.fargs, 2)
  local word = args.fargs[1] or 'run'
  local name = word:gsub('!$', '')
  local bang = args.bang or name ~= word
  local subcommand = subcommands[name]
  if not subcommand then
    return complain(('there is no :Vmtest %s; there is %s'):format(name, table.concat(M.names(), ', ')))
  end
  local most = subcommand.targets or 0
  if (most >= 0 and #names > most) or (bang and #names > 0) then
    return complain(
      (':Vmtest %s takes %s here'):format(word, most == 1 and not bang and 'one target' or 'no target')
    )
  end
  subcommand.run(names, bang)
end

--- The subcommands.
---@return string[]
function M.names()
  local names = vim.tbl_keys(subcommands)
  table.sort(names)
  return names
end

--- A name as one argument of a command.
local function escape(name)
  return (name:gsub('[\\%s]', '\\%0'))
end

--- The targets of the current project that a subcommand is for.
---@param subcommand vmtest.Subcommand
---@return string[]
local function target_names(subcommand)
  local client = require('vmtest.client')
  local path = require('vmtest').project()
  local running = path and client.get(path)
  if not running then
    return {}
  end
  local targets = client.request_sync(running, 'vmtest/targets', { uri = vim.uri_from_fname(path) })
  local names, seen = {}, {}
  for _, target in ipairs(targets or {}) do
    if not seen[target.name] and (subcommand.interactive or not target.interactive) then
      seen[target.name] = true
      names[#names + 1] = target.name
    end
  end
  return names
end

--- The arguments before the cursor, and whether there is a bang. The command may be shortened, have modifiers, and
--- follow another.
---@param before string
---@return string[] arguments
---@return boolean? bang
local function given(before)
  local ok, parsed = pcall(vim.api.nvim_parse_cmd, before, {})
  if ok and parsed.nextcmd ~= '' then
    return given(parsed.nextcmd)
  end
  return ok and parsed.args or {}, ok and parsed.bang
end

--- Completes the command.
---@param lead string
---@param line string
---@param position integer
---@return string[]
function M.complete(lead, line, position)
  local arguments, bang = given(line:sub(1, position - #lead))
  local candidates = {}
  if #arguments == 0 then
    candidates = M.names()
    candidates[#candidates + 1] = not bang and 'run!' or nil
  else
    local subcommand = not bang and subcommands[arguments[1]]
    local most = subcommand and subcommand.targets or 0
    if most < 0 or #arguments <= most then
      candidates = vim.tbl_map(escape, target_names(subcommand))
    end
  end
  return vim.tbl_filter(function(candidate)
    return vim.startswith(candidate, lead)
  end, candidates)
end

return M
