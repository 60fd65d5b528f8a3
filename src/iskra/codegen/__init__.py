"""The kernel compiler: expressions, loops, the loop IR, LLVM's language."""
