import Feed
import Testing

@testable import pmagent

@Suite struct StatusTests {
  @Test(arguments: [
    (#"{"name":"default","snapshot_age_ms":null}"#, "default: no snapshot yet"),
    (#"{"name":"lab","snapshot_age_ms":61500}"#, "lab: snapshot 61 s ago"),
    (
      #"{"name":"docker","snapshot_age_ms":2000,"follows":"unix:///run/docker.sock","runtime":"docker 20.10.24","#
        + #""connected":true,"since_ms":3000,"events":7,"lag_us":1500,"start_to_live_us":2500,"problem":null}"#,
      "docker: follows unix:///run/docker.sock (docker 20.10.24), connected since 3 s, snapshot 2 s ago, lag 1 ms"
    ),
    (
      #"{"name":"docker","snapshot_age_ms":null,"follows":"unix:///run/docker.sock","runtime":null,"connected":false,"#
        + #""since_ms":3000,"events":0,"lag_us":null,"start_to_live_us":null,"problem":"Connection refused"}"#,
      "docker: follows unix:///run/docker.sock, NOT connected since 3 s, no snapshot yet, Connection refused"
    ),
  ])
  func sources(_ source: String, _ text: String) throws {
    let answer = Answer(line: Array(#"{"ok":true,"in_sync":true,"degraded":[],"sources":[\#(source)]}"#.utf8))
    #expect(try PMAgent.Status.text(answer) == "in sync  yes\nsource   \(text)")
  }

  /// Of an older version.
  @Test func anAgentThatKnowsNoSources() throws {
    let answer = Answer(line: Array(#"{"ok":true,"in_sync":true,"degraded":[]}"#.utf8))
    #expect(try PMAgent.Status.text(answer) == "in sync  yes")
  }
}
