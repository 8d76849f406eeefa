"""The command `det`: one module per subcommand, each imported when it is used."""
