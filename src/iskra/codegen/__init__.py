"""The kernel compiler: expressions, loop IR, its verifier and interpreter, lowering to LLVM."""
