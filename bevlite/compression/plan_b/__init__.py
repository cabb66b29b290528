"""Ways out where a limit is missed: each as a variant that can be trained as it is, with what it saves and may cost."""
