-- Settings of this project; `koan config show --origin` lists all of them. KOAN_SECTION_KEY and flags override.
return {
  scripts = "app",
  app = { welcome = "hello" },                      -- scripts read it as config.welcome; KOAN_APP_WELCOME overrides
  flags = { ["loud-welcome"] = { percent = 50 } },  -- and this with flag("loud-welcome", { key = id })
}
