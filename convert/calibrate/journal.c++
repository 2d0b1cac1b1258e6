// Layout: magic and fingerprint of the work; then pieces: key, bytes, the piece, a fingerprint of key and piece.
#include "convert/calibrate/journal.h"

#include <utility>

#include "base/bytes.h"
#include "convert/calibrate/checkpoint.h"

namespace quant {

namespace {

constexpr uint64_t kMagic = 0x316c6a746e617571;  // "quantjl1"

uint64_t check_of(uint64_t key, Bytes piece) {
    Fingerprint print;
    print.add(&key, sizeof key);
    print.add(piece.data(), piece.size());
    return print.value();
}

template <class T>
Bytes bytes_of(const T& value) {
    return {reinterpret_cast<const uint8_t*>(&value), sizeof value};
}

}  // namespace

// Up to where the file is whole.
uint64_t Journal::read(uint64_t work) {
    Cursor from(file_.bytes());
    const auto magic = from.take<uint64_t>(), print = from.take<uint64_t>();
    if (!print || *magic != kMagic || *print != work) return 0;
    for (uint64_t whole = from.offset();; whole = from.offset()) {
        const auto key = from.take<uint64_t>(), bytes = from.take<uint64_t>();
        const auto piece = bytes ? from.take_bytes(*bytes) : std::nullopt;
        const auto check = piece ? from.take<uint64_t>() : std::nullopt;
        if (!check || *check != check_of(*key, *piece)) return whole;
        pieces_[*key] = *piece;
    }
}

Result<Journal> Journal::open(const std::string& path, uint64_t work) {
    Journal out;
    LET(spool, Spool::open(path));
    out.spool_ = std::move(spool);
    uint64_t whole = 0;
    if (out.spool_.bytes() > 0) {
        LET(file, MappedFile::open(path));
        out.file_ = std::move(file);
        whole = out.read(work);
    }
    TRY(out.spool_.cut(whole));
    if (whole > 0) return out;
    TRY(out.spool_.append(bytes_of(kMagic)));
    TRY(out.spool_.append(bytes_of(work)));
    return out;
}

Bytes Journal::find(uint64_t key) const {
    const auto found = pieces_.find(key);
    return found == pieces_.end() ? Bytes() : found->second;
}

Status Journal::put(uint64_t key, Bytes piece) {
    const uint64_t bytes = piece.size();
    TRY(spool_.append(bytes_of(key)));
    TRY(spool_.append(bytes_of(bytes)));
    TRY(spool_.append(piece));
    return spool_.append(bytes_of(check_of(key, piece)));
}

}  // namespace quant
