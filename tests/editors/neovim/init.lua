-- The user's configuration in the editors that are tested: what a README tells a user to write, and nothing else.
vim.opt.runtimepath:prepend(vim.env.VMTEST_TOP .. '/editors/neovim')
vim.g.vmtest = { cmd = vim.env.VMTEST_BIN }
