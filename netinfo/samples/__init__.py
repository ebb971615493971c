"""Raw-format texts of the starter domains (`netinfo.starter` fills them in)."""
