--- Runs in real machines.

local editor = require('editor')

local KERNEL = vim.env.VMTEST_KERNELS .. '/stable/boot/vmlinuz'
local LIMIT = editor.VM_LIMIT

--- A machine that is busy with other things gives the guest no time for long, and its kernel would complain of that.
local PATIENT = 'nosoftlockup rcupdate.rcu_cpu_stall_suppress=1 workqueue.watchdog_thresh=0'

local function target(name, command)
  return ([=[
[[target]]
name = "%s"
kernel = "%s"
kernel_args = "%s"
vm = { num_cpus = 1, memory = "1G" }
command = """
%s
"""

]=]):format(name, KERNEL, PATIENT, command)
end

local function open(files)
  return editor.open(files, { trust = 'Trust' })
end

test('a click on a lens runs the target in a VM, and its output comes while it runs', function()
  -- The command ends when it is told to, so what is seen before that was seen while it ran.
  local vim_, dir = open({
    ['vmtest.toml'] = target(
      'lens',
      [[
      printf '\\033]52;c;aGVsbG8=\\007\\033[32mgreen\\033[0m from Linux %s\\n' "$(uname -r)"
      for line in $(seq 100); do echo "line $line of many"; done
      until [ -e go ]; do sleep 0.1; done
      echo the end]]
    ),
  })
  vim_:answer('codelens', 'Run in VM')
  vim_:see('▶ Run in VM')
  vim_:type('gg')
  vim_:lua('vim.lsp.codelens.run()')
  vim_:see('■ Stop', LIMIT)
  vim_:reads('line 100 of many', { limit = LIMIT })
  contains(vim_:lua("return require('vmtest').status()"), 'vmtest: lens running')
  vim_:reads('=> lens\n')
  vim_:reads('===> Booting\n')
  vim_:reads('===> Setting up VM\n===> Running command\ngreen from Linux 6.')
  -- It follows: the last line is on the screen, and the focus is where it was.
  vim_:see('line 100 of many')
  equal(vim_:lua('return vim.bo.filetype'), 'toml')
  editor.write(dir .. '/go', '')
  equal(vim_:finished(1, LIMIT), { lens = 'passed' })
  vim_:see('PASS')
  vim_:see('✓')
  vim_:reads('line 100 of many\nthe end\nPASS')
end)

test('the places that failed are diagnostics in the sources and the quickfix list leads there', function()
  local vim_, dir = open({
    ['vmtest.toml'] = target('places', 'echo "src/main.c:2:5: error: oops is not declared" >&2; exit 3'),
    ['src/main.c'] = 'int main(void) {\n    oops;\n}\n',
  })
  vim_:command('Vmtest! run')
  equal(vim_:finished(1, LIMIT), { places = 'failed' })
  -- All of it is there when the run is over.
  equal(vim_:lua('return #vim.fn.getqflist()'), 2)
  vim_:command('silent cfirst')
  equal(vim_:lua('return vim.api.nvim_buf_get_name(0)'), dir .. '/src/main.c')
  equal(vim_:lua('return vim.api.nvim_win_get_cursor(0)'), { 2, 4 })
  contains(vim_:lua('return vim.diagnostic.get(0)[1].message'), 'oops is not declared')
  equal(vim_:lua('return vim.fn.getqflist()[2].text'), 'Command failed with exit code: 3')
  vim_:command('silent clast')
  equal(vim_:lua('return vim.api.nvim_buf_get_name(0)'), dir .. '/vmtest.toml')
  vim_:reads('src/main.c:2:5: error: oops is not declared\nCommand failed with exit code: 3\nFAILED')
end)

test('`:Vmtest stop` stops the machine', function()
  local vim_ = open({ ['vmtest.toml'] = target('long', 'echo up; sleep 1000') })
  vim_:command('Vmtest! run')
  vim_:reads('===> Booting', { limit = LIMIT })
  assert(
    vim.wait(LIMIT, function()
      return table.concat(editor.processes(), '\n'):find('qemu-system', 1, true) ~= nil
    end, 20),
    'QEMU is not seen'
  )
  vim_:command('Vmtest stop')
  equal(vim_:finished(1, LIMIT), { long = 'cancelled' })
  vim_:reads('Cancelled')
  assert(
    vim.wait(LIMIT, function()
      return table.concat(editor.processes(), '\n'):find('qemu-system', 1, true) == nil
    end, 20),
    'QEMU is still there'
  )
end)

-- E1
test('leaving the editor takes the machine along', function()
  local vim_ = open({ ['vmtest.toml'] = target('long', 'echo up; sleep 1000') })
  vim_:command('Vmtest! run')
  vim_:reads('===> Booting', { limit = LIMIT })
  vim_:quit()
  assert(
    vim.wait(LIMIT, function()
      return #editor.processes() == 0
    end, 20),
    'still there: ' .. table.concat(editor.processes(), '; ')
  )
end)

test('targets that run at once do not mix their output', function()
  local text = ''
  for _, name in ipairs({ 'a', 'b' }) do
    text = text .. target(name, ('for line in 1 2 3; do echo "%s $line"; sleep 0.2; done'):format(name))
  end
  local vim_ = open({ ['vmtest.toml'] = text })
  vim_:lua('vim.g.vmtest = { cmd = vim.env.VMTEST_BIN, jobs = 2 }')
  vim_:command('Vmtest! run')
  vim_:wait_for(LIMIT, 'both at once', "return require('vmtest').status():find('2 at once', 1, true) ~= nil")
  equal(vim_:finished(1, LIMIT), { a = 'passed', b = 'passed' })
  vim_:reads('PASS', { times = 2 })
  for _, name in ipairs({ 'a', 'b' }) do
    vim_:reads(('===> Running command\n%s 1\n%s 2\n%s 3\nPASS'):format(name, name, name))
  end
end)

test('`:Vmtest shell NAME` opens a shell in a VM', function()
  local vim_ = open({ ['vmtest.toml'] = target('with a shell', 'true') })
  vim_:command([[Vmtest shell with\ a\ shell]])
  vim_:wait('the terminal', "return vim.bo.buftype == 'terminal'")
  vim_:see('===> Running command', LIMIT)
  vim_:type('echo $((6 * 7)) is the answer; uname -s<CR>')
  vim_:see('42 is the answer', LIMIT)
  vim_:type('exit<CR>')
  vim_:see('[Process exited', LIMIT)
end)
