import NIOCore
import NIOPosix
import TestSupport

@testable import Runtimes

/// The API of a runtime as a script has it, on a real Unix socket. Everything happens on its event loop.
final class ScriptedDaemon {
  enum Fault {
    /// Nothing is ever answered.
    case silence
    case status(Int)
    /// Bytes in place of the answer, after which the connection is closed.
    case bytes(String)
  }

  private let loop: any EventLoop
  let path: String
  private var listener: (any Channel)?
  private(set) var streams: [any Channel] = []
  /// Targets without the version, in the order of their arrival.
  private(set) var requests: [String] = []
  /// Each is used up by one request to its target.
  var faults: [String: [Fault]] = [:]
  /// JSON by id.
  var containers: [String: String] = [:]
  var networks: [String: String] = ["n1": ScriptedDaemon.network("n1")]
  /// Called for each request, before it is answered.
  var onRequest: (String) -> Void = { _ in }

  init(at path: String, on loop: any EventLoop) { (self.path, self.loop) = (path, loop) }

  static func network(_ id: String) -> String {
    #"{"Id":"\#(id)","Name":"net-\#(id)","Driver":"bridge","IPAM":{"Config":[{"Subnet":"192.0.2.0/24"}]},"Options":{}}"#
  }

  static func container(_ id: String, hostPort: Int, startedAt second: Int = 1) -> String {
    #"{"Id":"\#(id)","Name":"/\#(id)","State":{"Running":true,"StartedAt":"1970-01-01T00:00:0\#(second)Z"},"#
      + #""HostConfig":{"NetworkMode":"net"},"NetworkSettings":{"Ports":{"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"\#(hostPort)"}]},"#
      + #""Networks":{"net":{"NetworkID":"n1","IPAddress":"192.0.2.2"}}}}"#
  }

  static func event(_ action: String, _ id: String, at second: Int = 2) -> String {
    #"{"Type":"container","Action":"\#(action)","Actor":{"ID":"\#(id)"},"timeNano":\#(second)000000000}"#
  }

  func listen() -> EventLoopFuture<Void> {
    let daemon = NIOLoopBound(self, eventLoop: loop)
    return ServerBootstrap(group: loop)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.addHandler(RequestReader(daemon.value))
        }
      }
      .bind(unixDomainSocketPath: path, cleanupExistingSocketFile: true)
      .assumeIsolated().map { self.listener = $0 }.nonisolated()
  }

  /// As SIGKILL: every connection ends, and nobody listens.
  func die() -> EventLoopFuture<Void> {
    endStreams()
    return listener?.close() ?? loop.makeSucceededVoidFuture()
  }

  func endStreams() {
    for stream in streams { stream.close(promise: nil) }
    streams = []
  }

  /// To all who follow, as one chunk; done when the other end has taken it.
  @discardableResult func say(_ text: String) -> EventLoopFuture<Void> {
    write(String(text.utf8.count, radix: 16) + "\r\n" + text + "\r\n")
  }

  func say(event: String) { say(event + "\n") }

  @discardableResult func write(_ text: String) -> EventLoopFuture<Void> {
    EventLoopFuture.andAllSucceed(streams.map { $0.writeAndFlush(ByteBuffer(string: text)) }, on: loop)
  }

  fileprivate func serve(_ fullTarget: String, _ channel: any Channel) {
    let target = fullTarget.hasPrefix("/v1.41") ? String(fullTarget.dropFirst(6)) : fullTarget
    let path = target.split(separator: "?").first.map(String.init) ?? target
    requests.append(path)
    onRequest(path)
    if faults[path]?.isEmpty == false, let fault = faults[path]?.removeFirst() { return fail(fault, channel) }
    if path == "/events" {
      streams.append(channel)
      channel.writeAndFlush(
        ByteBuffer(string: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), promise: nil)
    } else if let json = answer(path) {
      respond("200 OK", json, channel)
    } else {
      respond("404 Not Found", #"{"message":"No such object"}"#, channel)
    }
  }

  private func answer(_ path: String) -> String? {
    let words = path.split(separator: "/").map(String.init)
    switch words {
    case ["version"]: return #"{"Version":"20.10.24","ApiVersion":"1.41","Components":[{"Name":"Engine"}]}"#
    case ["networks"]: return "[\(networks.values.sorted().joined(separator: ","))]"
    case ["containers", "json"]:
      return "[\(containers.keys.sorted().map { #"{"Id":"\#($0)"}"# }.joined(separator: ","))]"
    case _ where words.count >= 2 && words[0] == "networks": return networks[words[1]]
    case _ where words.count == 3 && words[0] == "containers": return containers[words[1]]
    default: return nil
    }
  }

  private func fail(_ fault: Fault, _ channel: any Channel) {
    switch fault {
    case .silence: break
    case .status(let code): respond("\(code) Fault", #"{"message":"as scripted"}"#, channel)
    case .bytes(let text):
      channel.writeAndFlush(ByteBuffer(string: text)).whenComplete { _ in channel.close(promise: nil) }
    }
  }

  private func respond(_ status: String, _ body: String, _ channel: any Channel) {
    channel.writeAndFlush(
      ByteBuffer(string: "HTTP/1.1 \(status)\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"), promise: nil)
  }
}

/// Knows a request's first line from its end.
private final class RequestReader: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer

  private let daemon: ScriptedDaemon
  private var text = ""

  init(_ daemon: ScriptedDaemon) { self.daemon = daemon }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    text += String(buffer: unwrapInboundIn(data))
    guard text.contains("\r\n\r\n") else { return }
    let words = text.split(separator: " ")
    text = ""
    if words.count > 1 { daemon.serve(String(words[1]), context.channel) }
  }
}
