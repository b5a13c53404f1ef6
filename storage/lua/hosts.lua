-- Who may connect: a list of hosts, checked before any password. Tarantool runs SQL for guests, and one endless query
-- freezes the instance for everybody: so a host that is not listed is disconnected before its first request is read.

local fiber = require('fiber')
local log = require('log')

local hosts = {}

local LOOPBACK = {'127.0.0.0/8', '::1'}
local LOG_EVERY = 10 -- seconds: strangers must not fill our log

local allowed -- as given; nil: not guarded
local refused, told = 0, 0

-- The address as a number, or nil if it is not an IPv4 address.
local function number(address)
    local parts = {address:match('^(%d+)%.(%d+)%.(%d+)%.(%d+)$')}
    local n = 0
    for _, part in ipairs(parts) do
        if tonumber(part) > 255 then
            return nil
        end
        n = n * 256 + tonumber(part)
    end
    return #parts == 4 and n or nil
end

-- What an entry covers: {first, size} of IPv4 addresses, or the text of an IPv6 address; nil if it is neither.
local function covered(entry)
    local address, bits = tostring(entry):match('^([^/]+)/(%d%d?)$')
    local first = number(address or tostring(entry))
    bits = tonumber(bits or 32)
    if first ~= nil and bits <= 32 then
        local size = 2 ^ (32 - bits)
        return {first = first - first % size, size = size}
    end
    return first == nil and address == nil and tostring(entry):match('^[%x:]*:[%x:.]*$') or nil
end

-- The first invalid entry, or nil.
function hosts.wrong(list)
    for _, entry in ipairs(list) do
        if covered(entry) == nil then
            return tostring(entry)
        end
    end
end

-- Whether the list covers this address.
function hosts.covers(list, address)
    address = address:match('^::ffff:(%d+%.%d+%.%d+%.%d+)$') or address -- IPv4 on a dual-stack socket
    local n = number(address)
    for _, entry in ipairs(list) do
        local range = covered(entry)
        if range == address or (n ~= nil and type(range) == 'table'
                                and n >= range.first and n < range.first + range.size) then
            return true
        end
    end
    return false
end

-- Host of `host:port`, without brackets.
function hosts.of(uri)
    local host = uri:match('^(.*):%d+$') or uri
    return host:match('^%[(.*)%]$') or host
end

-- Whether `listen` can be reached from this machine only.
function hosts.is_local(listen)
    return listen:match('^unix/:') ~= nil or listen:sub(1, 1) == '/' or hosts.of(listen) == 'localhost'
        or hosts.covers(LOOPBACK, hosts.of(listen))
end

-- The list that applies to `listen`: loopback and its own address are always in it.
function hosts.with_local(list, listen)
    local all = table.copy(LOOPBACK)
    for _, entry in ipairs(list) do
        table.insert(all, entry)
    end
    if covered(hosts.of(listen)) ~= nil then
        table.insert(all, hosts.of(listen))
    end
    return all
end

local function refuse(address)
    refused = refused + 1
    if fiber.clock() - told >= LOG_EVERY then
        log.warn('%d connections refused, the last from %s: not among hosts', refused, address)
        refused, told = 0, fiber.clock()
    end
    box.error({code = box.error.ACCESS_DENIED, reason = ("Connect access to host '%s' is denied"):format(address)})
end

-- From now on disconnect every host that is not in the list. Call it before `listen`.
function hosts.guard(list)
    allowed = list
    box.session.on_connect(function()
        local peer = box.session.type() == 'binary' and box.session.peer() or nil
        if peer ~= nil and peer:match(':%d+$') and not hosts.covers(allowed, hosts.of(peer)) then
            refuse(hosts.of(peer))
        end
    end)
end

-- Another list from now on, for an instance that is guarded. Connections that are up stay.
function hosts.change(list)
    if allowed ~= nil then
        allowed = list
    end
end

-- The list in force, or nil.
function hosts.list()
    return allowed
end

return hosts
