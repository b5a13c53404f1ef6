-- What Tarantool does otherwise since 2.6, and is told to do as it did. Required first by whatever runs our Lua.

local fiber = require('fiber')

local newer = {}

-- Whether this Tarantool is of that version or a later one.
function newer.since(major, minor)
    local ours, its = _TARANTOOL:match('^(%d+)%.(%d+)')
    ours, its = tonumber(ours), tonumber(its)
    return ours > major or ours == major and its >= minor
end

if fiber.set_max_slice ~= nil then
    fiber.set_max_slice(3600) -- else a verb fails during which the machine stood still for a second
end

-- Tarantool 3 makes MessagePack's octets an object of their own; here they are strings.
pcall(function() -- 2.11 does not know the option, 2.6 none at all
    require('compat').binary_data_decoding = 'old'
end)

return newer
