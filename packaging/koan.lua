-- Koan's configuration: data only, no program. `koan config show --origin` tells what is in force and where from;
-- `systemctl reload koan` takes over what can change while it runs. All settings: configuration.md in the guide.
return {
  data = "/var/lib/koan",
  scripts = "/etc/koan/app",

  -- http = { listen = "0.0.0.0:8090" }, -- for other machines too; a token is then needed: /var/lib/koan/token
}
