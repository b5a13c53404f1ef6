-- Some rows of the base, side by side: what the conditions of an audience are asked of, one condition after the other.
-- There is one set of columns: whoever fills it is done with it before anything yields.

local ffi = require('ffi')
local row_memory = require('roles.audience.row_memory')

local columns = {}

local MOST = 4096 -- rows
columns.MOST = MOST

local ID, CHANNEL, LOCALE = row_memory.ID, row_memory.CHANNEL, row_memory.LOCALE
local field, name_at, number_at, next_row = row_memory.field, row_memory.name_at, row_memory.number_at,
    row_memory.next_row

local tuples = ffi.new('box_tuple_t *[?]', MOST)
local ids = ffi.new('double[?]', MOST)
local at = ffi.new('const uint8_t *[?]', MOST) -- where the next field to look at begins
local kept = ffi.new('int32_t[?]', MOST) -- the rows that keep all conditions so far
local inside = ffi.new('uint8_t[?]', MOST) -- 1: the row keeps all
local names = {} -- channels

columns.tuples, columns.ids, columns.at, columns.kept = tuples, ids, at, kept
columns.inside, columns.names = inside, names

local function put(i, tuple, id)
    tuples[i], ids[i] = tuple, id
    names[i] = name_at(field(tuple, CHANNEL))
    at[i], kept[i], inside[i] = field(tuple, LOCALE), i, 0
end

-- Fill the columns with the next rows of an iterator, MOST at most, with ids up to `to_id`. Returns how many.
function columns.fill(iterator, to_id, limit)
    for i = 0, limit - 1 do
        local tuple = next_row(iterator)
        if tuple == nil then
            return i
        end
        local id = number_at(field(tuple, ID))
        if id > to_id then
            return i
        end
        put(i, tuple, id)
    end
    return limit
end

-- Fill them with the rows of these ids, from the `first` of the list on, `limit` of them. Returns how many were found.
function columns.fill_with(list, first, limit)
    local count = 0
    for i = first, math.min(#list, first + limit - 1) do
        local id = tonumber(list[i])
        local tuple = row_memory.row_of(id)
        if tuple ~= nil then
            put(count, tuple, id)
            count = count + 1
        end
    end
    return count
end

return columns
