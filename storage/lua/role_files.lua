-- The roles' code, as it was on disk when it was last read. They remember much in Lua; a new leader begins with empty
-- memory, but with the code that it was started with, whatever is installed meanwhile.

local fio = require('fio')

local role_files = {}

local HERE = fio.dirname(debug.getinfo(1, 'S').source:sub(2))

local function each(name, f)
    for _, path in ipairs(fio.glob(fio.pathjoin(HERE, name, '*'))) do
        local inner = fio.pathjoin(name, fio.basename(path, '.lua'))
        if fio.path.is_dir(path) then
            each(inner, f)
        elseif path:match('%.lua$') then
            f(inner:gsub('/', '.'):gsub('%.init$', ''), path)
        end
    end
end

-- Read all files anew, for the next `require` of each.
function role_files.read()
    each('roles', function(name, path)
        package.preload[name] = assert(loadfile(path))
    end)
end

-- Let the next `require` of each run it again.
function role_files.drop()
    for name in pairs(package.loaded) do
        if name:match('^roles%.') then
            package.loaded[name] = nil
        end
    end
end

return role_files
