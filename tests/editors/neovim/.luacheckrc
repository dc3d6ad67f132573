std = 'luajit'
globals = { 'vim' }
read_globals = { 'test', 'equal', 'contains', 'arg' }
max_line_length = 160
