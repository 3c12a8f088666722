"""How fast decisions and gradient steps are, beside other runtimes and libraries, in one run."""
