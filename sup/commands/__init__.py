"""The programs of SUP, one module each: `sup`, `supfilesrv`, `supscan`."""
