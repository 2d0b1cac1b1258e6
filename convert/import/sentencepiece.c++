// A bounded reader of the protocol buffer wire format, used for three message types. Unknown fields are
// skipped.
#include "convert/import/sentencepiece.h"

#include <cmath>

#include "base/bytes.h"
#include "base/limits.h"
#include "base/utf8.h"

namespace quant {

namespace {

constexpr size_t kPieceBytes = size_t{1} << 16;  // as for tokens of a GGUF

struct Field {
    uint32_t number = 0;
    uint64_t value = 0;  // varint, or the bits of a fixed-width field
    Bytes bytes;         // of a length-delimited field
    bool text = false;   // length-delimited
};

class Message {
public:
    // `start`: where the message lies in the file, for messages of errors.
    Message(Bytes bytes, uint64_t start, const std::string& origin)
        : cursor_(bytes), start_(start), origin_(origin) {}

    bool done() const { return cursor_.remaining() == 0; }
    uint64_t place() const { return start_ + cursor_.offset(); }
    Error fail(const std::string& expected) const {
        return input_error(escaped(origin_) + ": expected " + expected + " at byte " +
                           std::to_string(place()) + "; not a SentencePiece model, or a damaged one");
    }

    Result<Field> next() {
        LET(tag, varint());
        Field field;
        field.number = static_cast<uint32_t>(tag >> 3);
        if (tag >> 3 == 0 || tag >> 3 > 0x1fffffff) return fail("a field number");
        switch (tag & 7) {
            case 0: {
                LET(value, varint());
                field.value = value;
                return field;
            }
            case 1: {
                const auto bits = cursor_.take<uint64_t>();
                if (!bits) return fail("8 bytes");
                field.value = *bits;
                return field;
            }
            case 2: {
                LET(length, varint());
                const auto bytes = cursor_.take_bytes(length);
                if (!bytes) return fail(std::to_string(length) + " bytes");
                field.bytes = *bytes;
                field.text = true;
                return field;
            }
            case 5: {
                const auto bits = cursor_.take<uint32_t>();
                if (!bits) return fail("4 bytes");
                field.value = *bits;
                return field;
            }
            default: return fail("a known wire type");
        }
    }

private:
    Result<uint64_t> varint() {
        uint64_t value = 0;
        for (int shift = 0; shift < 64; shift += 7) {
            const auto byte = cursor_.take<uint8_t>();
            if (!byte) return fail("a number");
            value |= static_cast<uint64_t>(*byte & 0x7F) << shift;
            if (*byte < 0x80) return value;
        }
        return fail("a number of at most 64 bits");
    }
    Cursor cursor_;
    uint64_t start_;
    const std::string& origin_;
};

std::string text_of(Bytes bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

Result<SentencePieceModel::Piece> read_piece(Message message) {
    SentencePieceModel::Piece piece;
    while (!message.done()) {
        LET(field, message.next());
        if (field.number == 1 && field.text) piece.text = text_of(field.bytes);
        if (field.number == 2 && !field.text)
            piece.score = std::bit_cast<float>(static_cast<uint32_t>(field.value));
        if (field.number == 3 && !field.text) {
            if (field.value < 1 || field.value > 6) return message.fail("a piece type from 1 to 6");
            piece.type = static_cast<int32_t>(field.value);
        }
    }
    if (piece.text.size() > kPieceBytes) return message.fail("a piece of at most 64 KiB");
    if (std::isnan(piece.score)) return message.fail("a score that is a number");
    for (std::string_view rest = piece.text; !rest.empty();) {
        const size_t bytes = utf8_length(rest);
        if (bytes == 0) return message.fail("a piece in UTF-8");
        rest.remove_prefix(bytes);
    }
    return piece;
}

Status read_trainer(Message message, SentencePieceModel& out) {
    while (!message.done()) {
        LET(field, message.next());
        if (field.number != 3 || field.text) continue;
        if (field.value < 1 || field.value > 4) return message.fail("a model type from 1 to 4");
        out.kind = static_cast<SentencePieceModel::Kind>(field.value);
    }
    return {};
}

Status read_normalizer(Message message, SentencePieceModel& out) {
    while (!message.done()) {
        LET(field, message.next());
        if (field.number == 2 && field.text) out.charsmap = text_of(field.bytes);
        if (field.number == 3 && !field.text) out.add_dummy_prefix = field.value != 0;
        if (field.number == 4 && !field.text) out.remove_extra_whitespaces = field.value != 0;
    }
    return {};
}

}  // namespace

bool looks_like_sentencepiece(Bytes bytes) {
    return !bytes.empty() && bytes[0] == 0x0A;  // field 1, a piece
}

Result<SentencePieceModel> read_sentencepiece(Bytes bytes, const std::string& origin) {
    SentencePieceModel out;
    Message model(bytes, 0, origin);
    while (!model.done()) {
        LET(field, model.next());
        if (!field.text) continue;
        const Message part(field.bytes, model.place() - field.bytes.size(), origin);
        if (field.number == 1) {
            if (out.pieces.size() >= limits::kVocab)
                return model.fail("at most " + std::to_string(limits::kVocab) + " pieces");
            LET(piece, read_piece(part));
            out.pieces.push_back(std::move(piece));
        }
        if (field.number == 2) TRY(read_trainer(part, out));
        if (field.number == 3) TRY(read_normalizer(part, out));
    }
    if (out.pieces.empty()) return model.fail("pieces");
    return out;
}

}  // namespace quant
