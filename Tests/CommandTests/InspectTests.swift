import Feed
import Testing

@testable import pmagent

@Suite struct InspectTests {
  private static let networks = #"{"ok":true,"networks":[{"id":"n1","name":"mynet"},{"id":"n2","name":"back"}]}"#
  private static let web = #"""
    {"ok":true,"source":"default","container":{"id":"4c01","name":"web","generation":3,
    "networks":[{"network":"n1","ipv4":"172.18.0.2","ipv6":"2001:db8::2","gateway_priority":1},
    {"network":"n2","ipv4":"172.19.0.2","gateway_priority":0}],
    "publish":["8080:80/tcp"],"expose":["9000/tcp"],"publish_all":false},
    "ports":{"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"8080"}],"9000/tcp":null},
    "warnings":[{"code":"port-not-held","message":"limit"}]}
    """#.replacing("\n", with: "")
  private static let document = """
    {
        "Id": "4c01",
        "Name": "/web",
        "Source": "default",
        "Generation": 3,
        "HostConfig": {
            "Publish": [
                "8080:80/tcp"
            ],
            "PublishAllPorts": false
        },
        "NetworkSettings": {
            "Ports": {
                "80/tcp": [
                    {
                        "HostIp": "0.0.0.0",
                        "HostPort": "8080"
                    }
                ],
                "9000/tcp": null
            },
            "Networks": {
                "back": {
                    "IPAddress": "172.19.0.2",
                    "GlobalIPv6Address": "",
                    "NetworkID": "n2",
                    "GwPriority": 0
                },
                "mynet": {
                    "IPAddress": "172.18.0.2",
                    "GlobalIPv6Address": "2001:db8::2",
                    "NetworkID": "n1",
                    "GwPriority": 1
                }
            }
        },
        "Warnings": [
            {
                "Code": "port-not-held",
                "Message": "limit"
            }
        ]
    }
    """

  @Test func document() throws {
    let answer = Answer(line: Array(Self.web.utf8))
    #expect(try PMAgent.Inspect.document(answer, ["n1": "mynet", "n2": "back"]).pretty(indent: 4) == Self.document)
  }

  @Test func theOthersAreShownWhenOneIsMissing() throws {
    let agent = try CannedAgent { body in
      switch body {
      case .query(.networks): .line(Self.networks)
      case .query(.inspect(container: "web")): .line(Self.web)
      default: .line(#"{"ok":false,"error":{"code":"unknown-container","message":"no container \"x\""}}"#)
      }
    }
    let outcome = try pmagent(["inspect", "x", "web", "--socket", agent.socket])
    #expect(outcome.status == .failed)
    #expect(outcome.errors == "pmagent: no container \"x\"\n")
    #expect(try JSON(parsing: Array(outcome.output.utf8)) == .array([JSON(parsing: Array(Self.document.utf8))]))
  }
}
