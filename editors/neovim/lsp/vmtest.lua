-- For vim.lsp.enable() of Neovim 0.11 and newer. What the user says in vim.lsp.config('vmtest', …) is added to it.
return require('vmtest.client').config()
