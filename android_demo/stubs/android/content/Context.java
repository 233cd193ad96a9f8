// Signatures written by hand for a type check (README.md): not the library's own source, never packaged.
package android.content;

import android.content.res.AssetManager;
import java.io.File;

public abstract class Context {
    public static final int MODE_PRIVATE = 0;

    public native AssetManager getAssets();

    public native ContentResolver getContentResolver();

    public native File getNoBackupFilesDir();

    public native File getCacheDir();

    public native File getExternalFilesDir(String type);

    public final native <T> T getSystemService(Class<T> serviceClass);

    public native SharedPreferences getSharedPreferences(String name, int mode);

    public native int checkSelfPermission(String permission);

    public final native int getColor(int id);

    public final native String getString(int resId);

    public final native String getString(int resId, Object... formatArgs);
}
