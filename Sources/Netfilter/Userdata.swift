// What nf_tables keeps for user space: a sequence of type:u8, length:u8, payload (libnftnl/udata.h). Type 0 is the comment, of
// tables, rules and elements alike, with the trailing NUL that nft(8) expects.

private let commentType: UInt8 = 0

func userdata(comment: String) -> [UInt8] {
  var writer = MessageWriter()
  writer.appendUserdata(comment: comment)
  return Array(writer.bytes)
}

extension MessageWriter {
  mutating func appendUserdata(comment: String) {
    let count = commentLength(comment)
    append(commentType)
    append(UInt8(count + 1))
    append(comment.utf8.prefix(count))
    append(0)
  }
}

/// "" when there is none, or none that is UTF-8.
func userdataComment(_ userdata: Bytes) -> String {
  var rest = userdata
  while rest.count >= 2 {
    let (type, length) = (rest[rest.startIndex], Int(rest[rest.startIndex + 1]))
    if type == commentType { return rest.dropFirst(2).prefix(length).string ?? "" }
    rest = rest.dropFirst(2 + length)
  }
  return ""
}

/// The bytes of `text` that fit NFTNL_UDATA_COMMENT_MAXLEN with the NUL, cut between two characters.
private func commentLength(_ text: String) -> Int {
  if text.utf8.count <= 127 { return text.utf8.count }
  var end = text.utf8.index(text.startIndex, offsetBy: 127, limitedBy: text.endIndex) ?? text.endIndex
  while end.samePosition(in: text) == nil { text.utf8.formIndex(before: &end) }
  return text.utf8.distance(from: text.startIndex, to: end)
}

/// NFTNL_UDATA_SET_KEYBYTEORDER: BYTEORDER_HOST_ENDIAN (nftables' include/datatype.h), a u32 in host byte order.
let hostByteOrderUserdata: [UInt8] = [0, 4] + withUnsafeBytes(of: UInt32(1)) { Array($0) }
