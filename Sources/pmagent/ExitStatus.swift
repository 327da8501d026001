import Agent
import Feed
import Glibc
import Netfilter
import PortMaps
import Storage

/// How a command ended; part of what scripts rely on. Thrown by a command that has said everything already.
enum ExitStatus: Int32, Error {
  case ok = 0
  case failed = 1
  case usage = 2
  case notInSync = 3
  case unreachable = 4
  case notPermitted = 5

  init(of error: any Error) {
    switch error {
    case FeedClientError.notThere, FeedClientError.refused, FeedClientError.connectionLost, FeedClientError.silent,
      is AgentLeft:
      self = .unreachable
    case FeedClientError.notPermitted, KernelError.notPermitted: self = .notPermitted
    case let error as StoreError where error.reason == .notPermitted: self = .notPermitted
    case let refusal as RequestRefused where refusal.code == ErrorCode.notPermitted.rawValue: self = .notPermitted
    case FeedClientError.system(_, _, let number) where Self.isPermission(number): self = .notPermitted
    case KernelError.system(_, let number) where Self.isPermission(number): self = .notPermitted
    case KernelError.refused(let refusal) where Self.isPermission(refusal.errno): self = .notPermitted
    default: self = .failed
    }
  }

  private static func isPermission(_ number: Int32) -> Bool { number == EPERM || number == EACCES }
}
