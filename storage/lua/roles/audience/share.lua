-- A share of the base, drawn by a hash of a subscriber's id and a salt: the same salt draws the same people in the same
-- order, so that shares of one salt grow, and `rest` is exactly everybody else.

local bit = require('bit')
local digest = require('digest')

local share = {}

local tobit, bxor, lshift, rshift = bit.tobit, bit.bxor, bit.lshift, bit.rshift
local WORD = 2 ^ 32

-- Robert Jenkins' mix of 32 bits: only sums, shifts and exclusive ors, which LuaJIT compiles to one instruction each.
local function mixed(a)
    a = tobit(a + 0x7ed55d16 + lshift(a, 12))
    a = bxor(bxor(a, 0xc761c23c), rshift(a, 19))
    a = tobit(a + 0x165667b1 + lshift(a, 5))
    a = bxor(tobit(a + 0xd3a2646c), lshift(a, 9))
    a = tobit(a + 0xfd7046c5 + lshift(a, 3))
    return bxor(bxor(a, 0xb55a4f09), rshift(a, 16))
end

-- A number from 0 to 2^32 - 1.
local function drawn(id, first, second)
    local low = id % WORD
    local high = (id - low) / WORD
    return mixed(bxor(mixed(bxor(tobit(low), first)), bxor(tobit(high), second))) % WORD
end

local function word(text, at)
    local a, b, c, d = text:byte(at, at + 3)
    return tobit(a * 0x1000000 + b * 0x10000 + c * 0x100 + d)
end

-- {share, salt, rest} as `within` wants it.
function share.compile(wanted)
    local key = digest.sha256(wanted.salt)
    return {below = wanted.share * WORD, first = word(key, 1), second = word(key, 5), rest = wanted.rest == true}
end

function share.within(compiled, id)
    return (drawn(id, compiled.first, compiled.second) < compiled.below) ~= compiled.rest
end

return share
