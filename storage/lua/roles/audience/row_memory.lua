-- Reads subscribers where they lie in Tarantool's memory, as MessagePack, by Tarantool's own C API (its module API, the
-- same from 1.7 to 3): no row becomes a Lua object (docs/adr/0008).

local bit = require('bit')
local ffi = require('ffi')
local msgpack = require('msgpack')

-- Some versions of Tarantool have declared some of these already.
for _, declaration in ipairs({
    'typedef struct tuple box_tuple_t;',
    'typedef struct iterator box_iterator_t;',
    [[box_iterator_t *box_index_iterator(uint32_t space_id, uint32_t index_id, int type, const char *key,
                                         const char *key_end);]],
    'int box_iterator_next(box_iterator_t *iterator, box_tuple_t **result);',
    'void box_iterator_free(box_iterator_t *iterator);',
    'const char *box_tuple_field(box_tuple_t *tuple, uint32_t fieldno);',
    [[int box_index_get(uint32_t space_id, uint32_t index_id, const char *key, const char *key_end,
                        box_tuple_t **result);]],
}) do
    pcall(ffi.cdef, declaration)
end

local C = ffi.C
local GT = 6 -- enum iterator_type

local row_memory = {
    -- fields of store_subscribers, from 0
    ID = 0, CHANNEL = 1, TOKEN = 2, LOCALE = 5, ZONE = 6, APP_VERSION = 8, BEST = 10, FIELDS = 12, CHANGED_AT = 13,
}

local octets = ffi.typeof('const uint8_t *')
local found = ffi.new('box_tuple_t *[1]')
local key = ffi.new('char[10]', {0x91}) -- an array of one number
local words = ffi.cast('int32_t *', key + 2) -- it does not keep `key` from the collector: `write_key` does

-- Where a field of a tuple begins; a null pointer, equal to nil: the tuple has no such field.
function row_memory.field(tuple, number)
    return ffi.cast(octets, C.box_tuple_field(tuple, number))
end

-- An unsigned number, below 2^53 as a sequence's are.
function row_memory.number_at(p)
    local head = p[0]
    if head < 0x80 then
        return head
    elseif head == 0xcc then
        return p[1]
    elseif head == 0xcd then
        return p[1] * 0x100 + p[2]
    end
    local n = ((p[1] * 0x100 + p[2]) * 0x100 + p[3]) * 0x100 + p[4]
    if head == 0xce then
        return n
    end
    return n * 0x100000000 + (((p[5] * 0x100 + p[6]) * 0x100 + p[7]) * 0x100 + p[8])
end

-- A channel's or a zone's name: shorter than 256 octets.
function row_memory.name_at(p)
    if p[0] == 0xd9 then
        return ffi.string(p + 2, p[1])
    end
    return ffi.string(p + 1, p[0] - 0xa0)
end

-- The half hour of the day that a subscriber prefers, from 0; 48: none.
function row_memory.best_slot(p)
    return p[0] == 0xc0 and 48 or math.floor(row_memory.number_at(p) / 30)
end

local function iterate(from_id)
    local packed = msgpack.encode({from_id})
    local start = ffi.cast('const char *', packed)
    local iterator = C.box_index_iterator(box.space.store_subscribers.id, 0, GT, start, start + #packed)
    if iterator == nil then
        box.error()
    end
    return iterator
end

-- The next row; a null pointer, equal to nil, behind the last.
function row_memory.next_row(iterator)
    if C.box_iterator_next(iterator, found) ~= 0 then
        box.error()
    end
    return found[0]
end

-- Write a number, below 2^53, in its shortest form: indexes find no other. Returns where the key ends.
local function write_key(id)
    if id < 0x80 then
        key[1] = id
        return key + 2
    elseif id < 0x100 then
        key[1], key[2] = 0xcc, id
        return key + 3
    elseif id < 0x10000 then
        key[1], key[2], key[3] = 0xcd, bit.rshift(id, 8), bit.band(id, 0xff)
        return key + 4
    elseif id < 0x100000000 then
        key[1], words[0] = 0xce, bit.bswap(id) -- the highest octet first
        return key + 6
    end
    key[1], words[0], words[1] = 0xcf, bit.bswap(math.floor(id / 0x100000000)), bit.bswap(id % 0x100000000)
    return key + 10
end

-- The row of one id, below 2^53; a null pointer, equal to nil: there is none. It stays there until something yields.
function row_memory.row_of(id)
    if C.box_index_get(box.space.store_subscribers.id, 0, key, write_key(id), found) ~= 0 then
        box.error()
    end
    return found[0]
end

-- Answer with work(iterator, ...), the iterator over the ids above from_id. Nothing in it may yield.
function row_memory.with(from_id, work, ...)
    local iterator = iterate(from_id)
    local ok, answer = pcall(work, iterator, ...)
    C.box_iterator_free(iterator)
    if not ok then
        error(answer, 0)
    end
    return answer
end

return row_memory
