import Glibc

/// Signals that are waited for instead of handled (sigwait(3)): no code runs at a moment nobody chose.
struct Signals {
  private var set = sigset_t()

  /// Blocks `numbers` in this thread and in all that it starts from now on.
  static func block(_ numbers: CInt...) -> Signals {
    var signals = Signals()
    sigemptyset(&signals.set)
    for number in numbers { sigaddset(&signals.set, number) }
    pthread_sigmask(SIG_BLOCK, &signals.set, nil)
    return signals
  }

  /// Waits for the next of them.
  func next() -> CInt {
    var (set, number) = (set, CInt(0))
    // Fails for an invalid set only.
    sigwait(&set, &number)
    return number
  }
}
